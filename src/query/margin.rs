//! The margin of a decision: by how much the chosen options were rated higher than the others.

use serde::Deserialize;

use super::records::Decision;

/// The margin of a row of `decisions` in SQL; NULL if scores are missing. Only objects have scores.
pub(super) const SQL: &str = "(SELECT min(CASE o.type WHEN 'object' THEN o.value ->> '$.score' END)
  FROM json_each(options_considered) AS o
  WHERE o.type = 'object' AND o.value ->> '$.option' IN (SELECT value FROM json_each(chosen_options)))
- (SELECT max(CASE o.type WHEN 'object' THEN o.value ->> '$.score' END)
  FROM json_each(options_considered) AS o
  WHERE o.type = 'object' AND o.value ->> '$.option' NOT IN (SELECT value FROM json_each(chosen_options)))";

#[derive(Deserialize)]
struct Considered {
    option: String,
    score: Option<f64>,
}

impl Decision {
    /// The lowest score of a chosen option, minus the highest score of an option that was not chosen. It is negative if
    /// an option with a higher score was not chosen, and None if there are no such scores.
    pub fn margin(&self) -> Option<f64> {
        let chosen: Vec<String> = serde_json::from_str(self.chosen_options.as_ref()?.as_str()).ok()?;
        let considered: Vec<serde_json::Value> =
            serde_json::from_str(self.options_considered.as_ref()?.as_str()).ok()?;
        let scored =
            considered.into_iter().filter_map(|option| serde_json::from_value::<Considered>(option).ok());
        let (mut least, mut best): (Option<f64>, Option<f64>) = (None, None);
        for option in scored {
            let Some(score) = option.score else { continue };
            if chosen.contains(&option.option) {
                least = Some(least.map_or(score, |least| least.min(score)));
            } else {
                best = Some(best.map_or(score, |best| best.max(score)));
            }
        }
        Some(least? - best?)
    }
}
