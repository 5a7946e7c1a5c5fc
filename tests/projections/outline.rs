//! The tree of a session's steps, whatever producers send.

use crate::support::program::Log;
use annals::Reader;

fn outline(steps: &[(&str, Option<&str>)]) -> Vec<(usize, String)> {
    let lines: String = steps
        .iter()
        .map(|(step, parent)| {
            let parent = parent.map_or_else(|| "null".to_owned(), |parent| format!("\"{parent}\""));
            format!("{{\"type\":\"step.started\",\"session\":\"s\",\"step\":\"{step}\",\"parent_step\":{parent}}}\n")
        })
        .collect();
    outline_of(&lines)
}

fn outline_of(lines: &str) -> Vec<(usize, String)> {
    let log = Log::with(lines);
    let record = Reader::open(log.path()).unwrap().session("s").unwrap().unwrap();
    record.outline().into_iter().map(|outlined| (outlined.depth, outlined.step.id.clone())).collect()
}

fn at(depth: usize, step: &str) -> (usize, String) {
    (depth, step.to_owned())
}

#[test]
fn each_step_is_followed_by_its_parts_in_order() {
    let found =
        outline(&[("a", None), ("b", None), ("a1", Some("a")), ("a2", Some("a")), ("a11", Some("a1"))]);
    assert_eq!(found, [at(0, "a"), at(1, "a1"), at(2, "a11"), at(1, "a2"), at(0, "b")]);
}

/// Steps at the top that began at a second, or nobody knows when.
fn begun(steps: &[(&str, Option<u32>)]) -> Vec<(usize, String)> {
    let lines: String = steps
        .iter()
        .map(|(step, second)| {
            let at =
                second.map(|second| format!(",\"at\":\"2026-11-20T08:00:{second:02}Z\"")).unwrap_or_default();
            format!("{{\"type\":\"step.started\",\"session\":\"s\",\"step\":\"{step}\"{at}}}\n")
        })
        .collect();
    outline_of(&lines)
}

#[test]
fn steps_beside_each_other_are_in_the_order_in_which_they_began() {
    let found = begun(&[("chat 1", Some(1)), ("chat 2", Some(3)), ("tool", Some(2)), ("again", Some(3))]);
    assert_eq!(found, [at(0, "chat 1"), at(0, "tool"), at(0, "chat 2"), at(0, "again")]);
}

#[test]
fn steps_are_in_the_order_of_the_log_where_not_all_are_known_to_have_begun() {
    let lines = "{\"type\":\"step.ended\",\"session\":\"s\",\"step\":\"a\",\"status\":\"ok\"}\n";
    let later = |step, second| {
        format!(
            "{{\"type\":\"step.started\",\"session\":\"s\",\"step\":\"{step}\",\"at\":\"2026-11-20T08:00:0{second}Z\"}}\n"
        )
    };
    let found = outline_of(&format!("{}{lines}{}", later("c", 2), later("b", 1)));
    assert_eq!(found, [at(0, "c"), at(0, "a"), at(0, "b")]);
}

#[test]
fn a_part_may_come_before_its_whole() {
    assert_eq!(outline(&[("a1", Some("a")), ("a", None)]), [at(0, "a"), at(1, "a1")]);
}

#[test]
fn a_step_whose_parent_never_came_stands_at_the_top() {
    assert_eq!(outline(&[("x", Some("nobody")), ("y", Some("x"))]), [at(0, "x"), at(1, "y")]);
}

#[test]
fn steps_that_stand_in_a_circle_are_shown_once() {
    let found = outline(&[("a", Some("c")), ("b", Some("a")), ("c", Some("b")), ("d", Some("d"))]);
    assert_eq!(found.len(), 4);
    assert_eq!(found[0], at(0, "d"));
    assert_eq!(found[1..], [at(0, "a"), at(1, "b"), at(2, "c")]);
}
