use super::*;
use crate::import::Source;
use crate::{Draft, EventId};

fn map(text: &str) -> Map {
    text.parse().unwrap()
}

fn refusal(text: &str) -> String {
    text.parse::<Map>().unwrap_err().to_string()
}

/// The events of records, in their JSON form without ids.
fn events(text: &str, records: &[&str]) -> Vec<String> {
    let map = map(text);
    let mut mapper = Mapper::new(&map, Source::new("test").unwrap());
    let mut lines = Vec::new();
    for (position, record) in (1..).zip(records) {
        for draft in mapper.drafts(None, position, record).unwrap() {
            lines.push(line(&draft));
        }
    }
    lines
}

fn line(draft: &Draft) -> String {
    let id = draft.id.unwrap();
    let json = crate::event::write_event(id, draft.session.as_ref(), draft.at, &draft.event).unwrap();
    json.replace(&format!("\"id\":\"{id}\","), "")
}

fn failure(text: &str, record: &str) -> String {
    let map = map(text);
    let mut mapper = Mapper::new(&map, Source::new("test").unwrap());
    mapper.drafts(None, 1, record).unwrap_err().to_string()
}

const STEPS: &str = r#"
    time = "ms"

    [[event]]
    type = "step.started"
    fields.session = "$.run"
    fields.step = "$.id"
    fields.at = "$.begun"
    fields.input = "$.request"
    fields.kind = { value = "tool" }

    [[event]]
    type = "step.ended"
    when = { path = "$.done", exists = true }
    fields.session = "$.run"
    fields.step = "$.id"
    fields.at = "$.done"
    fields.status = { path = "$.state", words = { good = "ok", bad = "error" } }
    fields.output = "$.answer"
"#;

#[test]
fn one_record_makes_several_events_and_keeps_what_no_path_took() {
    let record = r#"{"run": 7, "id": "a", "begun": 1795176000000, "done": 1795176001500, "state": "good",
        "request": {"q": 1.10}, "answer": "yes", "user": {"name": "n"}, "output": 5}"#;
    assert_eq!(
        events(STEPS, &[record]),
        [
            r#"{"type":"step.started","session":"7","at":"2026-11-20T12:00:00.000000Z","step":"a","kind":"tool","input":"{\"q\": 1.10}","attributes":{"output":5,"state":"good","user":{"name": "n"}}}"#,
            r#"{"type":"step.ended","session":"7","at":"2026-11-20T12:00:01.500000Z","step":"a","status":"ok","output":"yes"}"#,
        ]
    );
    assert_eq!(events(STEPS, &[r#"{"run": 7, "id": "a", "begun": 0, "done": null}"#]).len(), 1);
}

#[test]
fn a_list_of_paths_within_a_list_is_a_sum_of_whole_numbers() {
    let text = r#"
        [[event]]
        type = "step.ended"
        fields.session = "$.s"
        fields.step = "$.s"
        fields.status = { value = "ok" }
        fields.tokens_input = { path = [["$.in", "$.cached", "$.more[*]"], "$.all"] }
    "#;
    for (record, tokens) in [
        (r#"{"s": "s", "in": 3, "cached": 4, "more": [5, 6], "all": 1}"#, Some(18)),
        (r#"{"s": "s", "in": null, "cached": 4}"#, Some(4)),
        (r#"{"s": "s", "in": null, "all": 9}"#, Some(9)),
        (r#"{"s": "s"}"#, None),
    ] {
        let line = events(text, &[record]).remove(0);
        let expected = tokens.map_or(String::new(), |tokens| format!("\"tokens_input\":{tokens}"));
        assert!(line.contains(&expected) && line.contains("tokens_input") == tokens.is_some(), "{line}");
    }
    for value in ["1.5", "-1", "\"1\"", "18446744073709551615"] {
        let found = failure(text, &format!(r#"{{"s": "s", "cached": 1, "in": {value}}}"#));
        assert!(found.contains("is not a whole number that can be added"), "{found}");
    }
}

#[test]
fn ids_come_from_the_source_and_the_position_or_the_key() {
    let text = r#"
        [[event]]
        type = "note.logged"
        fields.message = "$.m"
    "#;
    let keyed = format!("key = [\"$.a\", \"$.b\"]\n{text}");
    let id = |text: &str, source: &str, position: u64, record: &str| {
        let map = map(text);
        let mut mapper = Mapper::new(&map, Source::new(source).unwrap());
        mapper.drafts(None, position, record).unwrap()[0].id.unwrap()
    };
    let record = r#"{"m": "x", "a": 1, "b": "1"}"#;
    assert_eq!(id(text, "s", 3, record), EventId::from_name("map/s/3/note.logged"));
    assert_eq!(id(&keyed, "s", 3, record), EventId::from_name("map/s/=1/=\"1\"/note.logged"));
    assert_eq!(id(&keyed, "s", 3, record), id(&keyed, "s", 9, record));
    assert_ne!(id(text, "s", 3, record), id(text, "t", 3, record));
    for (record, reason) in [
        (r#"{"m": "x", "a": 1}"#, "the key `$.b` of the map leads to no value"),
        (r#"{"m": "x", "a": 1, "b": null}"#, "the key `$.b` of the map leads to no value"),
    ] {
        assert_eq!(failure(&keyed, record), reason);
    }
    let same = r#"{"m": "x", "a": 1.0, "b": "\u0031"}"#;
    assert_eq!(id(&keyed, "s", 3, record), id(&keyed, "s", 3, same), "keys are compared by value");
    let own = r#"
        [[event]]
        type = "note.logged"
        fields.message = "$.m"
        fields.id = "$.uuid"
    "#;
    let uuid = "0198c5a0-0000-7000-8000-000000000001";
    assert_eq!(id(own, "s", 3, &format!(r#"{{"m": "x", "uuid": "{uuid}"}}"#)).to_string(), uuid);
}

#[test]
fn each_item_of_a_list_makes_events_and_keeps_its_own_rest() {
    let text = r#"
        [[event]]
        type = "session.started"
        fields.session = "$.id"

        [[event]]
        type = "note.logged"
        each = "$.steps[*]"
        unless = { path = "@.skip", equals = true }
        fields.session = "$.id"
        fields.message = "@.text"
        fields.step = "@.no"
    "#;
    let record =
        r#"{"id": "s", "who": "w", "steps": [{"no": 1, "text": "a", "x": [1]}, {"no": 2, "text": "b"}]}"#;
    assert_eq!(
        events(text, &[record]),
        [
            r#"{"type":"session.started","session":"s","attributes":{"who":"w"}}"#,
            r#"{"type":"note.logged","session":"s","message":"a","step":"1","attributes":{"x":[1]}}"#,
            r#"{"type":"note.logged","session":"s","message":"b","step":"2"}"#,
        ]
    );
    // An item that makes no event leaves the list as it is.
    let record = r#"{"id": "s", "steps": [{"no": 1, "text": "a"}, {"skip": true}]}"#;
    assert_eq!(
        events(text, &[record])[0],
        r#"{"type":"session.started","session":"s","attributes":{"steps":[{"no": 1, "text": "a"}, {"skip": true}]}}"#
    );
}

#[test]
fn the_rest_of_a_record_goes_to_the_event_that_asks_for_it() {
    let text = r#"
        [[event]]
        type = "session.started"
        when = { first = "$.s" }
        fields.session = "$.s"

        [[event]]
        type = "note.logged"
        rest = true
        fields.session = "$.s"
        fields.message = "$.m"
    "#;
    assert_eq!(
        events(text, &[r#"{"s": "a", "m": "1", "x": 1}"#, r#"{"s": "a", "m": "2", "x": 2}"#]),
        [
            r#"{"type":"session.started","session":"a"}"#,
            r#"{"type":"note.logged","session":"a","message":"1","attributes":{"x":1}}"#,
            r#"{"type":"note.logged","session":"a","message":"2","attributes":{"x":2}}"#,
        ]
    );
    let only_items = r#"
        [[event]]
        type = "note.logged"
        each = "$.l[*]"
        fields.message = { path = "@", as = "json" }
    "#;
    // `as` is for values that are not texts themselves.
    assert!(refusal(only_items).contains("field `message`: cannot be read `as` that"));
    let only_items = only_items.replace(r#"{ path = "@", as = "json" }"#, r#""@""#);
    assert_eq!(
        events(&only_items, &[r#"{"l": ["a", "b"], "x": 1}"#]),
        [
            r#"{"type":"note.logged","message":"a","attributes":{"record.x":1}}"#,
            r#"{"type":"note.logged","message":"b"}"#,
        ]
    );
}

#[test]
fn a_record_that_failed_was_not_the_first_of_its_session() {
    let text = r#"
        [[event]]
        type = "session.started"
        when = { first = "$.s" }
        fields.session = "$.s"

        [[event]]
        type = "note.logged"
        fields.message = "$.m"
    "#;
    let map = map(text);
    let mut mapper = Mapper::new(&map, Source::new("test").unwrap());
    assert!(mapper.drafts(None, 1, r#"{"s": "a"}"#).is_err());
    assert_eq!(mapper.drafts(None, 2, r#"{"s": "a", "m": "x"}"#).unwrap().len(), 2);
    assert_eq!(mapper.drafts(None, 3, r#"{"s": "a", "m": "x"}"#).unwrap().len(), 1);
}

#[test]
fn the_first_of_a_value_is_the_first_of_all_its_spellings() {
    let text = r#"
        [[event]]
        type = "session.started"
        when = { first = "$.chat" }
        fields.session = "$.id"

        [[event]]
        type = "custom"
        otherwise = true
        fields.name = { value = "more" }
    "#;
    let records = [
        r#"{"id": "a", "chat": "\u00e9"}"#,
        r#"{"id": "b", "chat": "é"}"#,
        r#"{"id": "c", "chat": 1}"#,
        r#"{"id": "d", "chat": 1.0}"#,
        r#"{"id": "e", "chat": "1"}"#,
    ];
    let events = events(text, &records);
    let started: Vec<bool> = events.iter().map(|event| event.contains("session.started")).collect();
    assert_eq!(started, [true, false, true, false, true]);
}

#[test]
fn each_value_of_a_list_is_converted_and_one_that_says_more_stays() {
    let text = r#"
        [[event]]
        type = "decision.made"
        fields.session = { value = "s" }
        fields.options_considered = { path = "$.options[*]", all = true, words = { a = "left", "1" = "right" } }
        fields.attributes = { members = { raw = { path = "$.raw[*]", all = true, as = "json" } } }
    "#;
    assert_eq!(
        events(text, &[r#"{"options": ["a", 1], "raw": ["{\"k\": 1.0}", 2, "[]"]}"#]),
        [
            r#"{"type":"decision.made","session":"s","options_considered":[{"option":"left"},{"option":"right"}],"attributes":{"options":["a", 1],"raw":[{"k": 1.0},2,[]]}}"#
        ]
    );
    let error = failure(text, r#"{"options": ["a", "c"]}"#);
    assert!(error.contains("from `$.options[*]`: `c` is not one of the `words` 1, a"), "{error}");
    assert!(failure(text, r#"{"raw": ["{"]}"#).contains("the text cannot be read as JSON"));
}

#[test]
fn a_record_whose_events_repeat_too_much_of_it_is_refused() {
    let text = r#"
        [[event]]
        type = "note.logged"
        each = "$.items[*]"
        fields.message = "$.text"
    "#;
    let items = ["0"; 70].join(",");
    let record = format!("{{\"text\": \"{}\", \"items\": [{items}]}}", "x".repeat(4 << 20));
    assert_eq!(
        failure(text, &record),
        "the events of the record have more than 268435456 bytes; leave out of `each` what all of them repeat"
    );
}

#[test]
fn values_get_the_form_of_their_field() {
    let text = r#"
        [[event]]
        type = "decision.made"
        when = { path = "$.options", exists = true }
        fields.session = { path = ["$.run", "$.chat"], prefix = "x/" }
        fields.options_considered = { path = "$.options[*].name", all = true }
        fields.chosen_option = "$.chosen"
        fields.confidence = { path = "$.sure", as = "number", default = 0.5 }
        fields.actor = "$.none"
        fields.attributes = { members = { raw = { path = "$.json", as = "json" }, v = { value = [1, "a"] } } }

        [[event]]
        type = "action.recorded"
        otherwise = true
        fields.action = { value = "other" }
        fields.actor = { members = { id = "$.who" } }
        fields.changes = { members = { before = "$.old", after = "$.new" } }
    "#;
    assert_eq!(
        events(
            text,
            &[
                r#"{"chat": 3, "options": [{"name": "a"}, {"name": "b"}], "chosen": true, "sure": "0.25", "json": "{\"k\": 1.0}"}"#
            ]
        ),
        [
            r#"{"type":"decision.made","session":"x/3","options_considered":[{"option":"a"},{"option":"b"}],"chosen_option":"true","confidence":0.25,"attributes":{"options":[{"name": "a"}, {"name": "b"}],"raw":{"k": 1.0},"v":[1,"a"]}}"#
        ]
    );
    assert_eq!(
        events(text, &[r#"{"who": 9, "new": {"a": 1}, "old": null, "date": "d"}"#]),
        [
            r#"{"type":"action.recorded","actor":{"id":"9"},"action":"other","changes":{"after":{"a": 1}},"attributes":{"date":"d"}}"#
        ]
    );
}

#[test]
fn a_finer_time_keeps_the_value_as_an_attribute() {
    let text = r#"
        [[event]]
        type = "note.logged"
        fields.at = { path = "$.ns", time = "ns" }
        fields.message = "$.m"
    "#;
    assert_eq!(
        events(
            text,
            &[r#"{"ns": 1795176000000000001, "m": "x"}"#, r#"{"ns": "1795176000000001000", "m": "x"}"#]
        ),
        [
            r#"{"type":"note.logged","at":"2026-11-20T12:00:00.000000Z","message":"x","attributes":{"ns":1795176000000000001}}"#,
            r#"{"type":"note.logged","at":"2026-11-20T12:00:00.000001Z","message":"x"}"#,
        ]
    );
}

#[test]
fn an_error_of_a_record_names_event_field_and_path() {
    for (record, error) in [
        ("[]", "not a JSON object: invalid type: sequence, expected an object at line 1 column 0"),
        (
            r#"{"run": {"a": 1}, "id": "a"}"#,
            "event `step.started`: field `session`, from `$.run`: `{\"a\": 1}` is not a text",
        ),
        (
            r#"{"run": "r", "id": "a", "begun": "noon"}"#,
            "event `step.started`: field `at`, from `$.begun`: `noon` is not a number of seconds or parts of them since 1970",
        ),
        (
            r#"{"run": "r", "id": "", "begun": 0}"#,
            "event `step.started`: step.started: field `step`: an id must not be empty (from `$.id`)",
        ),
        (r#"{"run": "r"}"#, "event `step.started`: step.started: field `step`: is missing (from `$.id`)"),
        (
            r#"{"run": "r", "id": "a", "done": 1, "state": "odd"}"#,
            "event `step.ended`: field `status`, from `$.state`: `odd` is not one of the `words` bad, good",
        ),
    ] {
        assert_eq!(failure(STEPS, record), error);
    }
    let text = r#"
        [[event]]
        type = "note.logged"
        when = [{ path = "$.a", among = [1, "x"] }, { path = "$.b", exists = false }]
        fields.message = "$..m"
        fields.at = "$.t"
    "#;
    for (record, error) in [
        (
            r#"{"a": 2}"#,
            "no event of the map takes the record; an event with `otherwise = true` takes all others",
        ),
        (
            r#"{"a": 1.0, "b": 1}"#,
            "no event of the map takes the record; an event with `otherwise = true` takes all others",
        ),
        (
            r#"{"a": 1.0, "m": "1", "c": {"m": "2"}}"#,
            "event `note.logged`: field `message`, from `$..m`: leads to 2 values; `all = true` makes a list of them",
        ),
        (
            r#"{"a": "x", "m": "1", "t": 5}"#,
            "event `note.logged`: field `at`, from `$.t`: `5` is a number; state its unit: `time` is one of \"s\", \"ms\", \"us\", \"ns\"",
        ),
    ] {
        assert_eq!(failure(text, record), error);
    }
}

#[test]
fn a_name_that_is_mapped_and_left_over_is_refused() {
    let text = r#"
        [[event]]
        type = "note.logged"
        fields.message = "$.m"
        fields.attributes = { members = { x = { value = 1 } } }
    "#;
    assert_eq!(
        failure(text, r#"{"m": "m", "x": 2}"#),
        "event `note.logged`: field `attributes.x` appears twice"
    );
}

#[test]
fn a_map_with_a_fault_is_refused_before_anything_is_read() {
    let event = |lines: &str| format!("[[event]]\ntype = \"step.ended\"\n{lines}");
    let needed = "fields.session = \"$.s\"\nfields.step = \"$.i\"\nfields.status = { value = \"ok\" }\n";
    for (text, error) in [
        (String::new(), "the map has no [[event]]"),
        ("evnt = 1".to_owned(), "unknown field `evnt`"),
        (event("feilds.a = 1"), "unknown field `feilds`"),
        (event("fields.step = { pth = \"$.a\" }"), "unknown field `pth`"),
        (event("fields.step = 3"), "expected a path such as"),
        (
            "[[event]]\ntype = \"step.end\"".to_owned(),
            "event 1 (`step.end`): `step.end` is not a type of event; the types are session.started, ",
        ),
        ("[[event]]\ntype = \"log.created\"".to_owned(), "only Annals itself writes `log.created` events"),
        (
            event("fields.session = \"$.s\"\nfields.step = \"$.i\""),
            "event 1 (`step.ended`): field `status`: is missing; step.ended needs it",
        ),
        (
            event("fields.status = \"$.s\"\nfields.step = \"$.i\""),
            "event 1 (`step.ended`): field `session`: is missing; step.ended needs it",
        ),
        (
            event(&format!("{needed}fields.outputs = \"$.o\"")),
            "field `outputs`: step.ended has no such field; the fields are id, session, at, step, status, output, ",
        ),
        (event(&format!("{needed}fields.output = \"o\"")), "field `output`: `o` is not a path"),
        (event(&format!("{needed}fields.output = \"$.o[\"")), "field `output`: `$.o[` is not a JSONPath"),
        (event(&format!("{needed}fields.output = \"@.o\"")), "the event has no `each`"),
        (event(&format!("{needed}each = \"@.o\"")), "`each`: the path begins at the record"),
        (event(&format!("{needed}fields.at = {{ path = \"$.t\", time = \"m\" }}")), "unknown variant `m`"),
        (event(&format!("{needed}fields.output = {{ path = \"$.t\", time = \"ms\" }}")), "only `at` can have `time`"),
        (event(&format!("{needed}fields.confidence = {{ path = \"$.t\", all = true }}")), "is one value"),
        (
            event(&format!("{needed}fields.output = {{ path = \"$.s\", words = {{ a = \"ok\" }}, prefix = \"x\" }}")),
            "cannot have `words` and `prefix`",
        ),
        (
            event(&format!("{needed}fields.confidence = {{ path = \"$.s\", words = {{ a = 1 }}, as = \"number\" }}")),
            "cannot have `words` and `as`",
        ),
        (
            event(&format!("{needed}fields.output = {{ path = \"$.s\", all = true, prefix = \"x\" }}")),
            "cannot have `all` and `prefix`",
        ),
        (
            event(&format!(
                "{needed}fields.output = {{ path = \"$.s\", all = true, words = {{ a = 1 }}, default = 2 }}"
            )),
            "cannot have `all`, `words` and `default`",
        ),
        (event(&format!("{needed}fields.output = {{ }}")), "needs one of `path`, `value` and `members`"),
        (event(&format!("{needed}fields.output = {{ value = 1, prefix = \"x\" }}")), "a constant `value`"),
        (event(&format!("{needed}fields.cost_usd = {{ value = inf }}")), "JSON has no number `inf`"),
        (event(&format!("{needed}when = {{ path = \"$.a\" }}")), "a condition has a `path` with one of"),
        (event(&format!("{needed}unless = {{ first = \"$.a\" }}")), "`first` belongs to `when`"),
        (event(&format!("{needed}query = \"q\"")), "there is no [[query]] with the name `q`"),
        (event(&format!("{needed}name = \"a/b\"")), "`a/b` cannot name an event"),
        (format!("source = \"a/b\"\n{}", event(needed)), "`source`: `a/b` cannot name a source"),
        (format!("key = \"@.a\"\n{}", event(needed)), "`key`: `@.a` begins at an item"),
        (event(needed) + &event(needed), "event 2 (`step.ended`): an event before it has the same name"),
        (
            "[[event]]\ntype = \"action.recorded\"\nfields.action = \"$.a\"\nfields.actor = { members = {} }".to_owned(),
            "field `actor`: its member `id` is missing",
        ),
        (
            "[[event]]\ntype = \"action.recorded\"\nfields.action = \"$.a\"\nfields.actor = { members = { id = \"$.a\", ip = \"$.b\" } }".to_owned(),
            "field `actor`: has no member `ip`; the members are id, kind",
        ),
        (
            format!("[[query]]\nname = \"q\"\nsql = \"SELECT 1\"\n{}", event(needed)),
            "event 1 (`step.ended`): `query` is missing",
        ),
        ("x".repeat(MAP_BYTES_MAX + 1), "the map has 1048577 bytes, more than 1048576"),
    ] {
        let found = refusal(&text);
        assert!(found.contains(error), "{text}\n{found}\n{error}");
    }
}

#[test]
fn a_value_of_a_map_equals_one_of_a_record_by_value() {
    let text = r#"
        [[event]]
        type = "custom"
        when = { path = "$.v", equals = { a = [1, 2.5] } }
        fields.name = { value = "seen" }
        fields.data = { path = "$.v" }
    "#;
    assert_eq!(
        events(text, &[r#"{"v": {"a": [1.0, 25e-1]}}"#]),
        [r#"{"type":"custom","name":"seen","data":{"a": [1.0, 25e-1]}}"#]
    );
    let drafts = events(&text.replace("equals = { a = [1, 2.5] }", "exists = true"), &[r#"{"v": false}"#]);
    assert_eq!(drafts, [r#"{"type":"custom","name":"seen","data":false}"#]);
}
