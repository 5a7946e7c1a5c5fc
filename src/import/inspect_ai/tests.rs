use std::io::Cursor;

use super::super::test_support::{all, collect, ended, source, started};
use super::super::{ImportError, Imported};
use super::inspect_ai;
use crate::{Draft, Event, Outcome, SessionEnd, SessionEnded, SessionStarted, StepEnd, StepKind};

const LOG: &str = include_str!("../../../tests/fixtures/inspect_ai/log.json");
const EVAL: &str = "inspect-ai/Ev4lR7wq9ZkL2mNpQrStUv";

fn import(log: impl AsRef<[u8]>) -> (Vec<Draft>, Result<Imported, ImportError>) {
    collect(|sink| inspect_ai(Cursor::new(log.as_ref()), &source(), &mut Err, sink))
}

/// The drafts of one session of the fixture.
fn session(name: &str) -> Vec<Draft> {
    let (drafts, imported) = import(LOG);
    imported.unwrap();
    let id = format!("{EVAL}{name}");
    let own: Vec<Draft> =
        drafts.into_iter().filter(|draft| draft.session.as_ref().unwrap().as_str() == id).collect();
    assert!(!own.is_empty(), "{id}");
    own
}

fn began(drafts: &[Draft]) -> &SessionStarted {
    all!(drafts, SessionStarted)[0]
}

fn over(drafts: &[Draft]) -> &SessionEnded {
    all!(drafts, SessionEnded)[0]
}

#[test]
fn the_evaluation_is_a_session_with_its_metrics() {
    let drafts = session("");
    assert_eq!(began(&drafts).labels["task"], "words/count");
    assert_eq!(began(&drafts).model.as_deref(), Some("openai/gpt-5.3"));
    assert!(began(&drafts).attributes["plan"].as_str().contains("react"));
    assert_eq!(over(&drafts).scores.iter().collect::<Vec<_>>(), [(&"match/accuracy".to_owned(), &0.5)]);
    // A number that is none is kept as a word.
    assert!(over(&drafts).attributes["results"].as_str().contains("\"NaN\""));
    assert_eq!(over(&drafts).status, SessionEnd::Completed);
}

#[test]
fn a_sample_is_a_session_with_its_input_scores_and_usage() {
    let drafts = session("/1/1");
    assert_eq!(began(&drafts).parent_session.as_ref().unwrap().as_str(), EVAL);
    assert_eq!(began(&drafts).input.as_deref(), Some("How many lines has words.txt?"));
    assert_eq!(began(&drafts).labels["epoch"], "1");
    assert_eq!(began(&drafts).attributes["target"].as_str(), "\"41\"");
    let end = over(&drafts);
    assert_eq!((end.scores["match"], end.scores["length"]), (1.0, 0.75));
    assert_eq!((end.tokens_input, end.tokens_output, end.cost_usd), (Some(650), Some(60), Some(0.003)));
    assert_eq!(end.summary.as_deref(), Some("There are 41 lines."));
    assert!(end.attributes["scores"].as_str().contains("it matches"));
    assert!(all!(drafts, FindingRaised).is_empty());
    let at = |pick: fn(&Event) -> bool| drafts.iter().find(|draft| pick(&draft.event)).unwrap().at.unwrap();
    assert_eq!(
        at(|event| matches!(event, Event::SessionStarted(_))).to_string(),
        "2026-07-01T09:00:02.000000Z"
    );
    assert_eq!(
        at(|event| matches!(event, Event::SessionEnded(_))).to_string(),
        "2026-07-01T09:00:11.000000Z"
    );
}

#[test]
fn a_model_event_is_a_step_with_its_newest_messages_and_attachments() {
    let drafts = session("/1/1");
    let first = started(&drafts, "event/1");
    assert_eq!((first.kind, first.model.as_deref()), (Some(StepKind::Llm), Some("openai/gpt-5.3")));
    assert_eq!(first.input.as_deref(), Some("You are careful.\nHow many lines has words.txt?"));
    assert_eq!(first.parent_step.as_ref().unwrap().as_str(), "span/s1");
    assert!(first.attributes["config"].as_str().contains("\"temperature\": 0.5"));
    let end = ended(&drafts, "event/1");
    assert!(
        end.output.as_deref().unwrap().starts_with("(reasoning) wc does it.\nI count the lines of the file")
    );
    assert_eq!((end.tokens_input, end.tokens_output, end.cost_usd), (Some(444), Some(40), Some(0.002)));
    assert_eq!(
        (end.tokens_cache_read, end.tokens_cache_write, end.tokens_reasoning),
        (Some(128), Some(16), Some(24))
    );
    for (name, value) in [("output.choices[0].stop_reason", "\"tool_calls\""), ("output.time", "1.25")] {
        assert_eq!(end.attributes[name].as_str(), value, "{name}");
    }
    assert!(end.attributes["output.choices[0].message.content"].as_str().contains("c2ln"));
    assert_eq!(started(&drafts, "event/3").input.as_deref(), Some("41 words.txt"));
}

#[test]
fn a_call_is_a_decision_and_a_step_that_the_tool_event_ends() {
    let drafts = session("/1/1");
    let decision = all!(drafts, DecisionMade)[0];
    assert_eq!(decision.decision.as_str(), "call_Q1w2e3");
    let options: Vec<&str> =
        decision.options_considered.iter().map(|option| option.option.as_str()).collect();
    assert_eq!((options, decision.chosen_option.as_deref()), (vec!["bash", "submit"], Some("bash")));
    let call = ended(&drafts, "call_Q1w2e3");
    assert_eq!((call.output.as_deref(), call.status), (Some("41 words.txt"), StepEnd::Ok));
    assert_eq!(call.attributes["working_time"].as_str(), "0.5");
    let span = started(&drafts, "span/s1");
    assert_eq!((span.kind, span.module.as_deref()), (Some(StepKind::Agent), Some("react")));
    assert_eq!(ended(&drafts, "span/s1").status, StepEnd::Ok);
}

#[test]
fn wrong_answers_rejections_limits_and_errors_are_findings() {
    let drafts = session("/deep/2/1");
    let found: Vec<_> = all!(drafts, FindingRaised)
        .into_iter()
        .map(|finding| (finding.pattern_type.as_deref().unwrap(), finding.outcome.unwrap()))
        .collect();
    assert_eq!(
        found,
        [
            ("inspect_ai.tool_rejected", Outcome::Fail),
            ("inspect_ai.score", Outcome::Fail),
            ("inspect_ai.limit", Outcome::Warning),
            ("inspect_ai.error", Outcome::Error),
        ]
    );
    assert_eq!(began(&drafts).input.as_deref(), Some("Delete everything."));
    assert!(began(&drafts).attributes["input"].as_str().contains("Be brief."));
    assert_eq!(ended(&drafts, "call_R1").error.as_deref(), Some("Not that."));
    assert_eq!(
        (over(&drafts).status, over(&drafts).error.as_deref()),
        (SessionEnd::Failed, Some("it broke"))
    );
}

#[test]
fn a_sample_without_events_is_read_from_its_messages() {
    let drafts = session("/3/2");
    assert_eq!(ended(&drafts, "message/1").output.as_deref(), Some("hi"));
    assert_eq!(started(&drafts, "message/1").input.as_deref(), Some("Say hi."));
    assert_eq!(ended(&drafts, "call_S1").output.as_deref(), Some("waved"));
    assert!(over(&drafts).scores.is_empty(), "not a number is no score");
}

#[test]
fn another_import_makes_the_same_drafts_and_each_event_has_an_id() {
    let drafts = import(LOG).0;
    assert_eq!(import(LOG).0, drafts);
    let mut ids: Vec<String> = drafts.iter().map(|draft| draft.id.unwrap().to_string()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), drafts.len());
}

#[test]
fn an_evaluation_that_is_under_way_has_no_end() {
    let (drafts, result) = import(LOG.replacen("\"success\"", "\"started\"", 1));
    result.unwrap();
    let of_eval = drafts.into_iter().filter(|draft| draft.session.as_ref().unwrap().as_str() == EVAL);
    let of_eval: Vec<Draft> = of_eval.collect();
    assert_eq!((all!(of_eval, SessionStarted).len(), all!(of_eval, SessionEnded).len()), (1, 0));
    assert!(all!(of_eval, SessionUpdated)[0].attributes["results"].as_str().contains("accuracy"));
}

#[test]
fn a_malformed_log_is_named_by_path_and_field() {
    for (good, bad, error) in [
        ("\"eval\":", "\"evil\":", "this is not a log of Inspect: it has no field `eval`"),
        ("\"task\": \"words/count\",", "", "the document: field `eval.task`: is missing"),
        ("\"success\"", "\"soon\"", "the document: field `status`: `soon` is not"),
        ("\"id\": \"deep/2\",", "", "samples[1]: field `id`: is missing"),
        (
            "\"input_tokens\": 300,",
            "\"input_tokens\": -1,",
            "samples[0].events[1]: field `output.usage.input_tokens`: ",
        ),
        ("\"function\": \"wave\",", "", "samples[2].messages[1]: field `tool_calls[0].function`: is missing"),
        ("\"event\": \"span_end\",", "", "samples[0].events[4]: field `event`: is missing"),
    ] {
        let text = LOG.replacen(good, bad, 1);
        assert_ne!(text, LOG, "{good}");
        let found = import(text).1.unwrap_err().to_string();
        assert!(found.starts_with(error), "{found}");
    }
}

#[test]
fn a_bad_sample_can_be_left_out() {
    let text = LOG.replacen("\"id\": \"deep/2\",", "", 1);
    let mut bad = Vec::new();
    let (drafts, result) = collect(|sink| {
        let mut on_bad = |error: ImportError| {
            bad.push(error.to_string());
            Ok(())
        };
        inspect_ai(Cursor::new(text), &source(), &mut on_bad, sink)
    });
    assert_eq!(result.unwrap().sessions, 3);
    assert_eq!(bad, ["samples[1]: field `id`: is missing"]);
    assert_eq!(all!(drafts, SessionEnded).len(), 3);
}

/// The fixture as an archive, each entry compressed in its own way.
#[cfg(feature = "cli")]
fn archive() -> Vec<u8> {
    use std::io::Write as _;
    use zip::write::SimpleFileOptions;
    use zip::{CompressionMethod, ZipWriter};

    // The fixture has the words that Python writes for numbers that are none.
    let mut log: serde_json::Value = serde_json::from_str(&LOG.replace("NaN", "null")).unwrap();
    let samples = log.as_object_mut().unwrap().remove("samples").unwrap();
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let mut entry = |name: &str, method, text: &str| {
        zip.start_file(name, SimpleFileOptions::default().compression_method(method)).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    };
    entry("_journal/start.json", CompressionMethod::Stored, "{}");
    let methods = [CompressionMethod::Deflated, CompressionMethod::Zstd, CompressionMethod::Stored];
    for (sample, method) in samples.as_array().unwrap().iter().zip(methods) {
        let id = sample["id"].as_str().map_or_else(|| sample["id"].to_string(), str::to_owned);
        entry(&format!("samples/{id}_epoch_{}.json", sample["epoch"]), method, &sample.to_string());
    }
    entry("summaries.json", CompressionMethod::Deflated, "[]");
    entry("header.json", CompressionMethod::Zstd, &log.to_string());
    zip.finish().unwrap().into_inner()
}

#[cfg(feature = "cli")]
#[test]
fn an_archive_has_the_same_samples_as_the_document() {
    let (drafts, result) = import(archive());
    assert_eq!(result.unwrap().sessions, 4);
    let (same, _) = import(LOG);
    let ids = |drafts: &[Draft]| {
        let mut ids: Vec<String> = drafts.iter().map(|draft| draft.id.unwrap().to_string()).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids(&drafts), ids(&same));
}

#[cfg(feature = "cli")]
#[test]
fn a_broken_archive_is_refused() {
    let whole = archive();
    let found = import(&whole[..whole.len() / 2]).1.unwrap_err().to_string();
    assert!(found.starts_with("this is not a log of Inspect: "), "{found}");
}
