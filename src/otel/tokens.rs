//! The tokens of a call, by what it reports of them.
//!
//! Annals counts the tokens of the provider's cache within those of the input, and those of reasoning within those of
//! the output, as OpenTelemetry defines. Some programs count these parts apart. They are added here.

use super::coding_agents::Apart;
use super::node::Node;
use crate::limits::TOKENS_MAX;

/// The tokens of a call.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tokens {
    pub(super) input: Option<u64>,
    pub(super) output: Option<u64>,
    pub(super) cache_read: Option<u64>,
    pub(super) cache_write: Option<u64>,
    pub(super) reasoning: Option<u64>,
}

/// Members of JSON with all counts of a call.
const INPUT: &[&str] = &["input", "input_tokens", "prompt_tokens", "inputTokens", "promptTokens"];
const OUTPUT: &[&str] = &["output", "output_tokens", "completion_tokens", "outputTokens", "completionTokens"];
const TOTAL: &[&str] = &["total", "total_tokens", "totalTokens"];
const CACHE_READ: &[&str] =
    &["input_cached_tokens", "input_cache_read", "cache_read_input_tokens", "input_cached", "cached_tokens"];
const CACHE_WRITE: &[&str] = &["input_cache_creation", "cache_creation_input_tokens"];
const REASONING: &[&str] = &["output_reasoning_tokens", "output_reasoning", "reasoning_tokens"];

/// Objects with the parts of the input and of the output, in the form of OpenAI and of LangChain.
const INPUT_DETAILS: &[&str] = &["prompt_tokens_details", "input_tokens_details", "input_token_details"];
const OUTPUT_DETAILS: &[&str] =
    &["completion_tokens_details", "output_tokens_details", "output_token_details"];
const READ_IN_DETAILS: &[&str] = &["cached_tokens", "cache_read"];
const WRITTEN_IN_DETAILS: &[&str] = &["cache_creation"];
const REASONING_IN_DETAILS: &[&str] = &["reasoning_tokens", "reasoning"];

fn count(node: &Node<'_>, names: &[&str]) -> Option<u64> {
    names.iter().find_map(|name| node.get(name)?.unsigned()).filter(|tokens| *tokens <= TOKENS_MAX)
}

fn sum(counts: impl IntoIterator<Item = Option<u64>>) -> u64 {
    counts.into_iter().flatten().fold(0, u64::saturating_add)
}

/// A count, and the counts of parts that are within it or beside it.
#[derive(Clone, Copy)]
struct Counted {
    count: Option<u64>,
    parts: u64,
    /// True if the parts are beside it, as far as the program's convention shows.
    is_apart: bool,
}

impl Counted {
    /// A part that exceeds the whole cannot be within it.
    fn must_be_apart(self) -> bool {
        self.count.is_some_and(|count| self.parts > count)
    }

    fn whole(self, is_apart: bool) -> Option<u64> {
        self.count.map(|count| count.saturating_add(if is_apart { self.parts } else { 0 }))
    }
}

/// The counts with the parts that are beside them. The numbers themselves decide first, then the convention.
fn wholes(input: Counted, output: Counted, total: Option<u64>) -> (Option<u64>, Option<u64>) {
    let fits = |(of_input, of_output): &(bool, bool)| {
        (*of_input || !input.must_be_apart())
            && (*of_output || !output.must_be_apart())
            && Some(sum([input.whole(*of_input), output.whole(*of_output)])) == total
    };
    let ways = [(false, false), (true, false), (false, true), (true, true)];
    let (of_input, of_output) = ways
        .into_iter()
        .find(fits)
        .unwrap_or((input.is_apart || input.must_be_apart(), output.is_apart || output.must_be_apart()));
    let storable = |whole: Option<u64>| whole.filter(|tokens| *tokens <= TOKENS_MAX);
    (storable(input.whole(of_input)), storable(output.whole(of_output)))
}

impl Tokens {
    /// Adds the parts that are counted apart: those of `apart`, and those for which the numbers show it.
    pub(super) fn whole(self, total: Option<u64>, apart: &[Apart]) -> Tokens {
        let input = Counted {
            count: self.input,
            parts: sum([self.cache_read, self.cache_write]),
            is_apart: apart.contains(&Apart::Cache),
        };
        let output = Counted {
            count: self.output,
            parts: sum([self.reasoning]),
            is_apart: apart.contains(&Apart::Reasoning),
        };
        let (input, output) = wholes(input, output, total);
        Tokens { input, output, ..self }
    }

    /// Reads JSON with all counts of a call.
    pub(super) fn of_usage(usage: &Node<'_>) -> Tokens {
        let details = |names: &[&str]| names.iter().find_map(|name| usage.get(name));
        let (of_input, of_output) = (details(INPUT_DETAILS), details(OUTPUT_DETAILS));
        let part = |names, details: Option<&Node<'_>>, in_details| {
            count(usage, names).or_else(|| count(details?, in_details))
        };
        let stated = Tokens {
            input: count(usage, INPUT),
            output: count(usage, OUTPUT),
            cache_read: part(CACHE_READ, of_input, READ_IN_DETAILS),
            cache_write: part(CACHE_WRITE, of_input, WRITTEN_IN_DETAILS),
            reasoning: part(REASONING, of_output, REASONING_IN_DETAILS),
        };
        let total = count(usage, TOTAL);
        let is_of_langfuse = ["input", "output"].iter().any(|name| usage.get(name).is_some());
        if !is_of_langfuse {
            return stated.whole(total, &[]);
        }
        // Langfuse counts each token in one member, whose name shows the side: `input` lacks those of `input_audio`.
        let side = |stated: Option<u64>, whole: &[&str], word: &str, parts: &[&[&str]]| {
            let Node::Object(members) = usage else {
                return Counted { count: stated, parts: 0, is_apart: true };
            };
            let is_part = |name: &str| {
                !whole.contains(&name)
                    && (name.contains(word) || parts.iter().any(|names| names.contains(&name)))
            };
            let parts = members.iter().filter(|(name, _)| is_part(name)).map(|(_, value)| value.unsigned());
            let parts = sum(parts);
            Counted { count: stated.or((parts > 0).then_some(0)), parts, is_apart: true }
        };
        let input = side(stated.input, INPUT, "input", &[CACHE_READ, CACHE_WRITE]);
        let output = side(stated.output, OUTPUT, "output", &[REASONING]);
        let (input, output) = wholes(input, output, total);
        Tokens { input, output, ..stated }
    }

    /// These counts, and for each that is not stated the other one.
    pub(super) fn or(self, other: Tokens) -> Tokens {
        Tokens {
            input: self.input.or(other.input),
            output: self.output.or(other.output),
            cache_read: self.cache_read.or(other.cache_read),
            cache_write: self.cache_write.or(other.cache_write),
            reasoning: self.reasoning.or(other.reasoning),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::tests::of_span;

    /// Input, output, cache read, cache written, reasoning.
    type Counts = [Option<u64>; 5];

    fn counts(said: Value) -> Counts {
        let means = of_span(said, json!({}));
        let ended = means.ended();
        [
            ended.tokens_input,
            ended.tokens_output,
            ended.tokens_cache_read,
            ended.tokens_cache_write,
            ended.tokens_reasoning,
        ]
    }

    #[test]
    fn the_parts_of_langfuses_usage_details_are_counted_apart() {
        for (details, expected) in [
            (
                json!({"input": 9, "output": 3, "cache_read_input_tokens": 4, "total": 16}),
                [Some(13), Some(3), Some(4), None, None],
            ),
            (
                json!({"input": 9, "output": 3, "input_cache_read": 4, "output_reasoning": 2, "total": 18}),
                [Some(13), Some(5), Some(4), None, Some(2)],
            ),
            (
                json!({"input": 9, "output": 3, "input_cached_tokens": 4, "output_reasoning_tokens": 2}),
                [Some(13), Some(5), Some(4), None, Some(2)],
            ),
            // A part that has no column is within the sum as well.
            (
                json!({"input": 9, "output": 3, "input_audio": 5, "total": 17}),
                [Some(14), Some(3), None, None, None],
            ),
            // The total states that the parts are within.
            (
                json!({"input": 13, "output": 5, "input_cached_tokens": 4, "output_reasoning": 2, "total": 18}),
                [Some(13), Some(5), Some(4), None, Some(2)],
            ),
        ] {
            assert_eq!(counts(json!({"langfuse.observation.usage_details": details})), expected, "{details}");
        }
    }

    #[test]
    fn the_parts_of_other_usage_are_within_the_whole_unless_the_numbers_contradict() {
        for (usage, expected) in [
            (
                json!({"prompt_tokens": 13, "completion_tokens": 5, "total_tokens": 18,
                    "prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens_details": {"reasoning_tokens": 2}}),
                [Some(13), Some(5), Some(4), None, Some(2)],
            ),
            (
                json!({"input_tokens": 13, "output_tokens": 5, "input_tokens_details": {"cached_tokens": 4},
                    "output_tokens_details": {"reasoning_tokens": 2}}),
                [Some(13), Some(5), Some(4), None, Some(2)],
            ),
            (
                json!({"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 4, "total_tokens": 19}),
                [Some(14), Some(5), Some(4), None, None],
            ),
            (
                json!({"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 4, "total_tokens": 15}),
                [Some(10), Some(5), Some(4), None, None],
            ),
        ] {
            assert_eq!(counts(json!({"mlflow.chat.tokenUsage": usage})), expected, "{usage}");
            assert_eq!(counts(json!({"langfuse.observation.usage_details": usage})), expected, "{usage}");
        }
    }

    #[test]
    fn a_part_that_exceeds_its_whole_is_counted_apart() {
        let said = json!({"gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 3,
            "gen_ai.usage.cache_read.input_tokens": 100, "gen_ai.usage.cache_creation.input_tokens": 20,
            "gen_ai.usage.reasoning.output_tokens": 4});
        assert_eq!(counts(said.clone()), [Some(130), Some(7), Some(100), Some(20), Some(4)]);
        // What the column does not have as it was sent stays an attribute.
        let means = of_span(said, json!({}));
        let attributes = &means.started().attributes;
        assert_eq!(attributes["gen_ai.usage.input_tokens"].as_str(), "10");
        assert!(!attributes.contains_key("gen_ai.usage.cache_read.input_tokens"));
    }

    #[test]
    fn a_stated_total_decides_whether_parts_are_within() {
        for (total, input, output) in [(13, 10, 3), (17, 14, 3), (15, 10, 5), (19, 14, 5), (99, 10, 3)] {
            let said = json!({"gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 3,
                "gen_ai.usage.cache_read.input_tokens": 4, "gen_ai.usage.reasoning.output_tokens": 2,
                "llm.usage.total_tokens": total});
            assert_eq!(counts(said), [Some(input), Some(output), Some(4), None, Some(2)], "{total}");
        }
    }

    #[test]
    fn attributes_count_before_json_with_all_tokens() {
        let said = json!({"gen_ai.usage.input_tokens": 13, "langfuse.observation.usage_details":
            {"input": 9, "output": 3, "input_cached_tokens": 4}});
        assert_eq!(counts(said), [Some(13), Some(3), Some(4), None, None]);
    }

    #[test]
    fn a_sum_beyond_the_largest_count_has_no_column_and_stays_an_attribute() {
        let said = json!({"gen_ai.usage.input_tokens": 1, "gen_ai.usage.cache_read.input_tokens": crate::limits::TOKENS_MAX});
        let means = of_span(said, json!({}));
        assert_eq!(
            (means.ended().tokens_input, means.ended().tokens_cache_read),
            (None, Some(crate::limits::TOKENS_MAX))
        );
        assert_eq!(means.started().attributes["gen_ai.usage.input_tokens"].as_str(), "1");
    }
}
