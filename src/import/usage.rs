//! The usage that the APIs of models report with an answer.

use serde::Deserialize;

use super::turn::Usage;
use crate::Json;

/// Reads the usage of an answer: the names of OpenAI's chat completions and responses, of Anthropic's messages, and of
/// LiteLLM, which adds those of one to the other. Numbers in another form are not read; the caller keeps the whole.
pub(super) fn of_api(json: &Json) -> Usage {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Reported {
        prompt_tokens: Option<u64>,
        completion_tokens: Option<u64>,
        input_tokens: Option<u64>,
        output_tokens: Option<u64>,
        cache_read_input_tokens: Option<u64>,
        cache_creation_input_tokens: Option<u64>,
        prompt_tokens_details: Option<Details>,
        input_tokens_details: Option<Details>,
        completion_tokens_details: Option<Details>,
        output_tokens_details: Option<Details>,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Details {
        cached_tokens: Option<u64>,
        reasoning_tokens: Option<u64>,
    }

    let reported: Reported = serde_json::from_str(json.as_str()).unwrap_or_default();
    let given = reported.prompt_tokens_details.or(reported.input_tokens_details).unwrap_or_default();
    let returned = reported.completion_tokens_details.or(reported.output_tokens_details).unwrap_or_default();
    // Only Anthropic counts the cache apart, and only Anthropic has these two names together.
    let is_apart = reported.prompt_tokens.is_none()
        && (reported.cache_read_input_tokens.is_some() || reported.cache_creation_input_tokens.is_some());
    let usage = Usage {
        tokens_input: reported.prompt_tokens.or(reported.input_tokens),
        tokens_output: reported.completion_tokens.or(reported.output_tokens),
        tokens_cache_read: reported.cache_read_input_tokens.or(given.cached_tokens),
        tokens_cache_write: reported.cache_creation_input_tokens,
        tokens_reasoning: returned.reasoning_tokens,
        cost_usd: None,
    };
    if is_apart { usage.with_cache_apart() } else { usage }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_read_in_the_forms_of_the_apis() {
        for (json, expected) in [
            (
                r#"{"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8,
                    "prompt_tokens_details": {"cached_tokens": 2, "audio_tokens": null},
                    "completion_tokens_details": {"reasoning_tokens": 1}}"#,
                [Some(5), Some(3), Some(2), None, Some(1)],
            ),
            (
                r#"{"input_tokens": 5, "output_tokens": 3, "output_tokens_details": null,
                    "cache_read_input_tokens": 4, "cache_creation_input_tokens": 6}"#,
                [Some(15), Some(3), Some(4), Some(6), None],
            ),
            ("null", [None; 5]),
            (r#"{"prompt_tokens": "many"}"#, [None; 5]),
        ] {
            let usage = of_api(&json.parse().unwrap());
            let found = [
                usage.tokens_input,
                usage.tokens_output,
                usage.tokens_cache_read,
                usage.tokens_cache_write,
                usage.tokens_reasoning,
            ];
            assert_eq!(found, expected, "{json}");
        }
    }
}
