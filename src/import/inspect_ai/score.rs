//! Scores of a sample.

use std::collections::BTreeMap;

use super::super::fields::text_of;
use super::super::turn::Problem;
use crate::{Json, Outcome, Severity};

/// A score, as far as it says something about the answer.
pub(super) struct Scored {
    /// Numbers by name: that of the scorer, and the key if the score has several.
    pub(super) numbers: Vec<(String, f64)>,
    /// The finding of a wrong answer, or of one that is partly right.
    pub(super) finding: Option<Problem>,
}

/// Reads the value of a score. The words are those that Inspect itself reads as numbers.
pub(super) fn read(scorer: &str, score: &Json) -> Scored {
    #[derive(serde::Deserialize)]
    struct Score {
        value: Json,
        explanation: Option<String>,
    }

    let score: Option<Score> = serde_json::from_str(score.as_str()).ok();
    let Some(Score { value, explanation }) = score else {
        return Scored { numbers: Vec::new(), finding: None };
    };
    let verdict = match text_of(&value).as_str() {
        "C" | "true" => Some((1.0, None)),
        "P" => Some((0.5, Some(Outcome::Warning))),
        "I" | "N" | "false" => Some((0.0, Some(Outcome::Fail))),
        _ => None,
    };
    if let Some((number, outcome)) = verdict {
        let finding = outcome.map(|outcome| Problem {
            category: "score",
            pattern_type: "inspect_ai.score",
            severity: if outcome == Outcome::Fail { Severity::High } else { Severity::Medium },
            outcome,
            title: "A scorer found the answer wrong",
            plain_english: "The answer is not, or not completely, the one that the task asks for.",
            description: Some(match explanation {
                Some(explanation) => format!("{scorer}: {explanation}"),
                None => format!("The score of {scorer} is {}.", text_of(&value)),
            }),
            evidence: Some(value),
            step: None,
        });
        return Scored { numbers: vec![(scorer.to_owned(), number)], finding };
    }
    let number = |json: &Json| json.as_str().parse().ok().filter(|number: &f64| number.is_finite());
    if let Some(number) = number(&value) {
        return Scored { numbers: vec![(scorer.to_owned(), number)], finding: None };
    }
    let several: BTreeMap<String, Json> = serde_json::from_str(value.as_str()).unwrap_or_default();
    let numbers = several
        .iter()
        .filter_map(|(key, value)| {
            let word = match text_of(value).as_str() {
                "C" | "true" => Some(1.0),
                "P" => Some(0.5),
                "I" | "N" | "false" => Some(0.0),
                _ => None,
            };
            Some((format!("{scorer}/{key}"), number(value).or(word)?))
        })
        .collect();
    Scored { numbers, finding: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_numbers_are_scores_and_wrong_answers_are_findings() {
        for (value, number, outcome) in [
            ("\"C\"", Some(1.0), None),
            ("\"P\"", Some(0.5), Some(Outcome::Warning)),
            ("\"I\"", Some(0.0), Some(Outcome::Fail)),
            ("false", Some(0.0), Some(Outcome::Fail)),
            ("0.25", Some(0.25), None),
            ("0", Some(0.0), None),
            ("\"NaN\"", None, None),
            ("\"a word\"", None, None),
        ] {
            let scored = read("match", &format!(r#"{{"value": {value}}}"#).parse().unwrap());
            assert_eq!(scored.numbers.first().map(|(_, number)| *number), number, "{value}");
            assert_eq!(scored.finding.map(|finding| finding.outcome), outcome, "{value}");
        }
        let scored = read("rubric", &r#"{"value": {"a": 1, "b": "I", "c": "x"}}"#.parse().unwrap());
        assert_eq!(scored.numbers, [("rubric/a".to_owned(), 1.0), ("rubric/b".to_owned(), 0.0)]);
    }
}
