//! Tests that compare the forms of an event with each other.

use super::*;

fn json(text: &str) -> Json {
    text.parse().unwrap()
}

#[test]
fn null_in_a_free_form_field_is_absent() {
    let changes = Changes { before: Some(json("null")), after: Some(json("[null]")) };
    let action = ActionRecorded {
        actor: Actor { id: "a".into(), kind: None },
        action: "x".into(),
        ..Default::default()
    };
    let mut draft = Draft::new(ActionRecorded { changes: Some(changes), ..action });
    draft.drop_nulls();
    let written = write_event(EventId::generate(), None, None, &draft.event).unwrap();
    assert_eq!(parse_draft(&written).unwrap().event, draft.event);
    assert!(written.contains(r#""changes":{"after":[null]}"#), "{written}");
}

#[test]
fn an_attribute_of_an_option_cannot_have_the_name_of_its_field() {
    let mut option = ConsideredOption::scored("left", 0.5);
    option.attributes.insert("score".to_owned(), json("1"));
    let made = DecisionMade { options_considered: vec![option], ..Default::default() };
    // In the JSON form, the attribute `score` would be beside the option's own field `score`.
    let draft = Draft::new(made).session("s".try_into().unwrap());
    let error = draft.check().unwrap_err();
    assert_eq!(
        (error.field.as_str(), error.problem),
        ("options_considered[0].score", FieldProblem::OwnField)
    );
}

#[test]
fn json_of_the_greatest_depth_round_trips_in_every_field_that_may_have_it() {
    let deep = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
    let deepest = json(&deep(crate::limits::JSON_DEPTH_MAX));
    let mut option = ConsideredOption::from("left");
    option.attributes.insert("why".to_owned(), deepest.clone());
    let attributes = Attributes::from([("why".to_owned(), deepest)]);
    let made = DecisionMade { options_considered: vec![option], attributes, ..Default::default() };
    let draft = Draft::new(made).session("s".try_into().unwrap());
    assert_eq!(draft.check(), Ok(()));
    let written = write_event(EventId::generate(), draft.session.as_ref(), None, &draft.event).unwrap();
    assert_eq!(parse_draft(&written).unwrap().event, draft.event);
    // One level deeper is refused, although the JSON form of an event may have more levels than free-form
    // JSON.
    let deeper = deep(crate::limits::JSON_DEPTH_MAX + 1);
    assert!(parse_draft(&format!(r#"{{"type":"custom","name":"n","data":{deeper}}}"#)).is_err());
}

#[test]
fn a_principal_without_an_id_and_evidence_without_a_name_are_refused_with_their_place() {
    let problem = |text: &str| match parse_draft(text).unwrap_err() {
        JsonEventError::Invalid(InvalidField { field, problem, .. }) => (field, problem),
        error => panic!("{error}"),
    };
    assert_eq!(
        problem(
            r#"{"type":"action.recorded","actor":{"id":"a"},"action":"x","on_behalf_of":[{"actor":{"id":"u"}},{"actor":{"id":""}}]}"#
        ),
        ("on_behalf_of[1].actor.id".to_owned(), FieldProblem::Empty)
    );
    assert_eq!(
        problem(
            r#"{"type":"review.recorded","actor":"a","subject_kind":"session","verdict":"modified","evidence_seen":["f-1",""]}"#
        ),
        ("evidence_seen[1]".to_owned(), FieldProblem::Empty)
    );
    let unknown = parse_draft(
        r#"{"type":"decision.made","session":"s","on_behalf_of":[{"actor":{"id":"u"},"since":1}]}"#,
    );
    let unknown = unknown.unwrap_err().to_string();
    assert!(unknown.contains("on_behalf_of") && unknown.contains("`since`"), "{unknown}");
}

#[test]
fn the_subject_of_a_policy_decision_has_a_kind_and_an_id() {
    let field = |rest: &str| {
        let text = format!(r#"{{"type":"policy.decided","policy":"p","effect":"deny"{rest}}}"#);
        match parse_draft(&text) {
            Ok(_) => None,
            Err(JsonEventError::Invalid(InvalidField { field, problem, .. })) => {
                assert_eq!(problem, FieldProblem::Missing);
                Some(field)
            }
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(field(""), None);
    assert_eq!(field(r#","subject_kind":"session""#), None);
    assert_eq!(field(r#","subject_kind":"action","subject_id":"x-1""#), None);
    assert_eq!(field(r#","subject_kind":"action""#).as_deref(), Some("subject_id"));
    assert_eq!(field(r#","subject_id":"x-1""#).as_deref(), Some("subject_kind"));
}

#[test]
fn a_declaration_announces_only_kinds_that_programs_record() {
    let problem = |announced: &str| {
        let text =
            format!(r#"{{"type":"coverage.declared","session":"s","source":"p","announced":{announced}}}"#);
        match parse_draft(&text) {
            Ok(_) => None,
            Err(JsonEventError::Invalid(InvalidField { field, problem, .. })) => Some((field, problem)),
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(problem(r#"{"step.ended":9007199254740991,"coverage.declared":1}"#), None);
    for name in ["step.end", "events.lost", "log.created"] {
        let field = format!("announced.{name}");
        assert_eq!(problem(&format!(r#"{{"{name}":1}}"#)), Some((field, FieldProblem::NotAKind)));
    }
    let too_large = FieldProblem::TooLarge { number: 1 << 53, max: crate::limits::ANNOUNCED_MAX };
    assert_eq!(
        problem(r#"{"step.ended":9007199254740992}"#),
        Some(("announced.step.ended".to_owned(), too_large))
    );
    assert!(parse_draft(r#"{"type":"coverage.declared","source":"p"}"#).is_err(), "it belongs to a session");
}

#[test]
fn a_name_that_an_object_of_an_event_has_twice_is_refused_with_its_path() {
    for (text, field) in [
        (r#"{"type":"note.logged","message":"a","message":"b"}"#, "message"),
        (r#"{"type":"note.logged","message":"m","attributes":{"a":1,"b":2,"a":3}}"#, "attributes.a"),
        (r#"{"type":"session.started","session":"s","labels":{"team":"x","team":"y"}}"#, "labels.team"),
        (
            r#"{"type":"session.ended","session":"s","status":"completed","scores":{"s":1,"\u0073":2}}"#,
            "scores.s",
        ),
        (r#"{"type":"action.recorded","action":"x","actor":{"id":"a","id":"b"}}"#, "actor.id"),
        (r#"{"type":"note.logged","message":"m","a":1,"attributes":{"a":1}}"#, "attributes.a"),
    ] {
        assert_eq!(parse_draft(text).unwrap_err().to_string(), format!("field `{field}` appears twice"));
    }
    // In lists, serde refuses them.
    for (text, field) in [
        (
            r#"{"type":"decision.made","session":"s","on_behalf_of":[{"actor":{"id":"a","id":"b"}}]}"#,
            "on_behalf_of[0].actor",
        ),
        (
            r#"{"type":"decision.made","session":"s","options_considered":[{"option":"a","cost":1,"cost":2}]}"#,
            "options_considered[0]",
        ),
    ] {
        let error = parse_draft(text).unwrap_err().to_string();
        assert!(error.contains(&format!("field `{field}")) && error.contains("duplicate field"), "{error}");
    }
}
