use std::collections::HashSet;

use super::*;

/// Searches as the pipeline does, and returns the expression that it ends with.
fn solve(numbers: &[u64]) -> Option<String> {
    let mut kept = vec![Thought::puzzle(numbers)];
    while kept.first()?.expression().is_none() {
        let judged = propose(&kept).into_iter().map(|thought| (judge(&thought), thought));
        kept = choose(judged.map(|(judgement, thought)| (thought, judgement)).collect(), BEAM)
            .into_iter()
            .map(|(thought, _)| thought)
            .collect();
    }
    let best = kept.first()?;
    (judge(best).verdict == Verdict::Sure).then(|| best.expression().unwrap().to_owned())
}

fn hands() -> impl Iterator<Item = [u64; 4]> {
    let up = |from: u64| from..=10;
    up(1)
        .flat_map(move |a| up(a).flat_map(move |b| up(b).flat_map(move |c| up(c).map(move |d| [a, b, c, d]))))
}

#[test]
fn every_answer_is_right_and_only_hands_without_one_have_none() {
    let (mut solvable, mut solved) = (0, 0);
    for hand in hands() {
        let found = solve(&hand);
        solved += usize::from(found.is_some());
        // Searched only where the beam finds nothing, because it takes long.
        let way = || search_everywhere(&Thought::puzzle(&hand));
        let answer = found.or_else(|| Some(way()?.last()?.expression()?.to_owned()));
        if let Some(answer) = answer {
            assert_eq!(check(&answer, &hand), Ok(()), "{hand:?}: {answer}");
            solvable += 1;
        }
    }
    // It is well known how many hands of cards from 1 to 10 have an answer.
    assert_eq!(solvable, 566);
    assert_eq!(solved, 547, "imperfect, but not useless");
}

#[test]
fn fractions_are_beyond_the_evaluator_but_not_beyond_the_full_search() {
    let hand = [3, 3, 8, 8];
    assert_eq!(solve(&hand), None);
    let way = search_everywhere(&Thought::puzzle(&hand)).unwrap();
    assert_eq!(way.last().unwrap().expression(), Some("8 / (3 - 8 / 3)"));
}

#[test]
fn thoughts_read_as_operations_and_lead_to_different_numbers() {
    let thoughts = propose(&[Thought::puzzle(&[4, 5, 6, 10])]);
    let texts: Vec<_> = thoughts.iter().map(Thought::text).collect();
    assert!(texts.contains(&"4 * 5 = 20 (left: 6 10 20)"), "{texts:?}");
    assert!(texts.contains(&"5 / 4 = 5/4 (left: 5/4 6 10)"), "{texts:?}");
    assert!(texts.iter().all(|text| !text.contains("= -")), "{texts:?}");
    let left: HashSet<_> = thoughts.iter().map(Thought::left).collect();
    assert_eq!(left.len(), thoughts.len());
}

#[test]
fn equal_thoughts_stay_in_the_order_in_which_they_were_proposed() {
    let judged: Vec<_> = propose(&[Thought::puzzle(&[4, 5, 6, 10])])
        .into_iter()
        .map(|thought| (thought, Judgement { verdict: Verdict::Likely, why: String::new() }))
        .collect();
    assert_eq!(choose(judged.clone(), BEAM), judged[..BEAM]);
}

#[test]
fn the_check_refuses_other_numbers_other_values_and_nonsense() {
    assert_eq!(check("(10 - 6) * 5 + 4", &[4, 5, 6, 10]), Ok(()));
    assert_eq!(check("4 * 6", &[4, 6]), Ok(()));
    for (wrong, error) in [
        ("4 * 6", "it uses [4, 6] instead of [4, 5, 6, 10]"),
        ("4 + 5 + 6 + 10", "it is 25, not 24"),
        ("4 + 5 + 6 +", "it cannot be read as an expression"),
        ("4 + 5 + 6 + 10)", "it cannot be read as an expression"),
        ("10 / (5 - 5)", "it cannot be read as an expression"),
        ("", "it cannot be read as an expression"),
    ] {
        assert_eq!(check(wrong, &[4, 5, 6, 10]).unwrap_err().to_string(), error, "{wrong}");
    }
    assert!(check(&"(".repeat(100_000), &[1]).is_err());
}
