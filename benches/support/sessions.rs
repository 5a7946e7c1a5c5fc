//! Realistic sessions, as many as are wanted: the same events for the same seed, in constant memory.
//!
//! How long sessions are, what they consist of and how long their texts are was measured on two published
//! sets of traces, 200 runs of tau-bench (airline) and 100 of Tree of Thoughts (game of 24), after `annals
//! import`. They stand below as quantiles. The words are invented, and as frequent as those of the traces.
//! What those traces lack is given as an instrumented pipeline gives it: times, tokens, and ids made for
//! each session. Several sessions run side by side.

#![allow(
    dead_code,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "numbers are far from their limits, and each program that uses it uses a part"
)]

use std::collections::BTreeMap;

use annals::{
    Attributes, ConsideredOption, DecisionId, DecisionMade, Draft, Event, FindingId, FindingRaised, Json,
    Outcome, SessionEnd, SessionEnded, SessionId, SessionStarted, Severity, StepEnd, StepEnded, StepId,
    StepKind, StepStarted, Timestamp,
};
use fastrand::Rng;

/// Sessions that are under way at a time.
const SIDE_BY_SIDE: usize = 16;

/// Time between two events, in microseconds: ten thousand a second.
const EVENT_MICROS: i64 = 100;

/// When the first event happens: 2026-01-01.
const START_MICROS: i64 = 1_767_225_600_000_000;

/// Sessions that are conversations; the others are searches. As many as there are traces of each.
const CONVERSATIONS: f64 = 200.0 / 300.0;

/// A measured distribution: its values at [`QUANTILES`].
type Measured = [u32; 8];

/// Where distributions were measured.
const QUANTILES: [f64; 8] = [0.0, 0.10, 0.25, 0.50, 0.75, 0.90, 0.99, 1.0];

/// Runs of tau-bench, airline: an agent serves a customer. Lengths are in characters.
mod conversation {
    use super::Measured;

    pub(super) const INPUT: Measured = [6275, 6398, 6459, 6527, 6692, 6798, 7483, 7483];
    pub(super) const START_ATTRIBUTES: Measured = [100, 110, 260, 920, 1250, 1650, 4374, 4500];
    pub(super) const STEPS: Measured = [2, 5, 7, 11, 17, 20, 30, 30];
    /// Of the steps, those of kind tool; the others are of kind llm.
    pub(super) const TOOLS: f64 = 1164.0 / 2454.0;
    pub(super) const LLM_INPUT: Measured = [0, 35, 71, 124, 627, 775, 3372, 8117];
    pub(super) const LLM_OUTPUT: Measured = [44, 127, 178, 260, 403, 574, 983, 1256];
    pub(super) const TOOL_INPUT: Measured = [2, 27, 27, 31, 140, 280, 543, 1008];
    pub(super) const TOOL_OUTPUT: Measured = [0, 2, 51, 667, 810, 965, 4723, 8117];
    pub(super) const TOOL_ATTRIBUTES: Measured = [48, 48, 48, 145, 215, 289, 531, 1190];
    /// Of the steps of kind tool, those that end in error.
    pub(super) const TOOL_ERRORS: f64 = 73.0 / 1164.0;
    /// Of the sessions, those that fail: each has a finding.
    pub(super) const FAILED: f64 = 116.0 / 200.0;
    pub(super) const EVIDENCE: Measured = [255, 573, 1315, 2381, 3071, 4314, 9457, 9457];
    pub(super) const END_ATTRIBUTES: Measured = [26, 350, 500, 1040, 1560, 1950, 4900, 4980];
}

/// Runs of Tree of Thoughts, game of 24: a search that keeps the best of several thoughts.
mod search {
    use super::Measured;

    pub(super) const INPUT: Measured = [7, 7, 7, 8, 8, 9, 10, 10];
    pub(super) const STEPS: u32 = 4;
    pub(super) const STEP_INPUT: Measured = [0, 0, 124, 234, 353, 388, 458, 598];
    pub(super) const STEP_OUTPUT: Measured = [124, 131, 234, 353, 469, 517, 621, 755];
    /// Options that a decision considers, how long each is, and how many it keeps.
    pub(super) const OPTIONS: Measured = [5, 8, 11, 20, 30, 35, 43, 78];
    pub(super) const OPTION: Measured = [24, 28, 49, 68, 96, 105, 148, 280];
    pub(super) const CHOSEN: usize = 5;
    pub(super) const FAILED: f64 = 31.0 / 100.0;
    pub(super) const EVIDENCE: Measured = [854, 862, 879, 907, 970, 1023, 1152, 1152];
    pub(super) const END_ATTRIBUTES: Measured = [988, 1010, 1023, 1041, 1067, 1119, 1296, 1296];
}

/// Draws a value of a measured distribution, evenly between two quantiles.
fn draw(rng: &mut Rng, measured: &Measured) -> usize {
    let at = rng.f64();
    let above = QUANTILES.iter().position(|quantile| *quantile > at).unwrap_or(QUANTILES.len() - 1);
    let (low, high) = (above - 1, above);
    let part = (at - QUANTILES[low]) / (QUANTILES[high] - QUANTILES[low]);
    let (from, to) = (f64::from(measured[low]), f64::from(measured[high]));
    (from + part * (to - from)).round() as usize
}

/// Words, each as often as a word of its rank in the traces.
struct Words {
    words: Vec<String>,
    /// Ranks, each as often as its word comes: a word is drawn by one look.
    drawn: Vec<u16>,
}

impl Words {
    /// Frequencies fall as (rank + offset) to the minus `exponent`: Zipf's law, flattened at its head as
    /// that of the traces is.
    fn new(words: Vec<String>, offset: f64, exponent: f64) -> Words {
        const DRAWN: usize = 1 << 16;
        let frequency = |rank: usize| (rank as f64 + offset).powf(-exponent);
        let whole: f64 = (0..words.len()).map(frequency).sum();
        let (mut drawn, mut sum) = (Vec::with_capacity(DRAWN), 0.0);
        for rank in 0..words.len() {
            sum += frequency(rank);
            while drawn.len() < DRAWN && (drawn.len() as f64 + 0.5) * whole < sum * DRAWN as f64 {
                drawn.push(rank as u16);
            }
        }
        drawn.resize(DRAWN, 0);
        Words { words, drawn }
    }

    /// 3,551 words, on average of 4.8 letters in a text: those of the conversations.
    fn prose(rng: &mut Rng) -> Words {
        const CONSONANTS: &[u8] = b"tnsrhldcmfpgwbvkjxqz";
        const VOWELS: &[u8] = b"eaoiu";
        let mut words = Vec::with_capacity(3_551);
        let mut known = std::collections::HashSet::new();
        while words.len() < 3_551 {
            // Frequent words are short.
            let letters = 2 + rng.usize(0..3) + (words.len() + 1).ilog2() as usize / 2;
            let word: String = (0..letters)
                .map(|place| {
                    char::from(*rng.choice(if place % 2 == 0 { CONSONANTS } else { VOWELS }).unwrap())
                })
                .collect();
            if known.insert(word.clone()) {
                words.push(word);
            }
        }
        Words::new(words, 20.0, 1.8)
    }

    /// 932 numbers, of which few make up nearly everything: those of the searches.
    fn numbers() -> Words {
        Words::new((1..=932).map(|number| number.to_string()).collect(), 20.0, 3.0)
    }

    fn word(&self, rng: &mut Rng) -> &str {
        &self.words[usize::from(self.drawn[rng.usize(0..self.drawn.len())])]
    }

    /// A text of so many characters. One word of fifty is an id that stands nowhere else.
    fn text(&self, rng: &mut Rng, chars: usize) -> String {
        let mut text = String::with_capacity(chars + 16);
        while text.len() < chars {
            let dice = rng.u8(..);
            if dice < 5 {
                text.push_str(&format!("{:06}", rng.u32(..1_000_000)));
            } else {
                text.push_str(self.word(rng));
            }
            text.push_str(if dice >= 240 { ". " } else { " " });
        }
        text.truncate(chars);
        text
    }

    /// A JSON list of objects, of about so many characters.
    fn json(&self, rng: &mut Rng, chars: usize) -> Json {
        let mut text = String::with_capacity(chars + 64);
        text.push('[');
        while text.len() + 8 < chars {
            let value = (chars - text.len()).min(24 + rng.usize(0..48));
            let (name, value) = (self.word(rng), self.text(rng, value.saturating_sub(16)));
            let gap = if text.len() > 1 { "," } else { "" };
            text.push_str(&format!("{gap}{{\"{name}\":\"{value}\"}}"));
        }
        text.push(']');
        text.parse().expect("JSON")
    }
}

/// The events of realistic sessions, without end.
pub(crate) struct Sessions {
    rng: Rng,
    seed: u64,
    prose: Words,
    numbers: Words,
    open: Vec<Session>,
    sessions: u64,
    events: i64,
}

impl Sessions {
    /// The events that a seed stands for.
    pub(crate) fn new(seed: u64) -> Sessions {
        let mut rng = Rng::with_seed(seed);
        let (prose, numbers) = (Words::prose(&mut rng), Words::numbers());
        Sessions { rng, seed, prose, numbers, open: Vec::new(), sessions: 0, events: 0 }
    }

    fn open(&mut self) -> Session {
        self.sessions += 1;
        // A session is the same whatever runs beside it.
        let mut rng = Rng::with_seed(self.seed ^ self.sessions.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut random = [0; 10];
        rng.fill(&mut random);
        let millis = (START_MICROS + self.events * EVENT_MICROS) as u64 / 1_000;
        let id = uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid().to_string();
        let is_conversation = rng.f64() < CONVERSATIONS;
        let (steps, failed) = match is_conversation {
            true => (draw(&mut rng, &conversation::STEPS) as u32, conversation::FAILED),
            false => (search::STEPS, search::FAILED),
        };
        Session {
            id: SessionId::new(id).expect("an id"),
            fails: rng.f64() < failed,
            is_conversation,
            steps,
            step: 0,
            is_tool: false,
            next: Next::Start,
            rng,
        }
    }
}

impl Iterator for Sessions {
    type Item = Draft;

    fn next(&mut self) -> Option<Draft> {
        while self.open.len() < SIDE_BY_SIDE {
            let session = self.open();
            self.open.push(session);
        }
        let place = self.rng.usize(0..SIDE_BY_SIDE);
        let session = &mut self.open[place];
        let words = if session.is_conversation { &self.prose } else { &self.numbers };
        let draft = Draft {
            at: Some(Timestamp::from_micros(START_MICROS + self.events * EVENT_MICROS)),
            ..Draft::new(session.next_event(words)).session(session.id.clone())
        };
        self.events += 1;
        if matches!(session.next, Next::Nothing) {
            self.open.swap_remove(place);
        }
        Some(draft)
    }
}

/// What a session says next.
enum Next {
    Start,
    StepStart,
    Decision,
    StepEnd,
    Finding,
    End,
    Nothing,
}

struct Session {
    rng: Rng,
    id: SessionId,
    is_conversation: bool,
    fails: bool,
    steps: u32,
    step: u32,
    is_tool: bool,
    next: Next,
}

impl Session {
    fn next_event(&mut self, words: &Words) -> Event {
        match self.next {
            Next::Start => {
                self.next = Next::StepStart;
                self.start(words).into()
            }
            Next::StepStart => {
                self.step += 1;
                self.next = if self.is_conversation { Next::StepEnd } else { Next::Decision };
                self.start_step(words).into()
            }
            Next::Decision => {
                self.next = Next::StepEnd;
                self.decide(words).into()
            }
            Next::StepEnd => {
                self.next = match () {
                    () if self.step < self.steps => Next::StepStart,
                    () if self.fails => Next::Finding,
                    () => Next::End,
                };
                self.end_step(words).into()
            }
            Next::Finding => {
                self.next = Next::End;
                self.find(words).into()
            }
            Next::End | Next::Nothing => {
                self.next = Next::Nothing;
                self.end(words).into()
            }
        }
    }

    fn text(&mut self, words: &Words, chars: &Measured) -> Option<String> {
        let chars = draw(&mut self.rng, chars);
        Some(words.text(&mut self.rng, chars))
    }

    fn json(&mut self, words: &Words, chars: &Measured) -> Json {
        let chars = draw(&mut self.rng, chars);
        words.json(&mut self.rng, chars)
    }

    fn step_id(&self) -> StepId {
        StepId::new(self.step.to_string()).expect("an id")
    }

    fn start(&mut self, words: &Words) -> SessionStarted {
        let (profile, input) = match self.is_conversation {
            true => ("conversation", &conversation::INPUT),
            false => ("search", &search::INPUT),
        };
        let mut attributes = Attributes::new();
        if self.is_conversation {
            attributes.insert("actions".to_owned(), self.json(words, &conversation::START_ATTRIBUTES));
        }
        SessionStarted {
            profile: Some(profile.to_owned()),
            input: self.text(words, input),
            source: Some("bench".to_owned()),
            labels: BTreeMap::from([("task".to_owned(), self.rng.u32(0..1_000).to_string())]),
            attributes,
            ..SessionStarted::default()
        }
    }

    fn start_step(&mut self, words: &Words) -> StepStarted {
        self.is_tool = self.is_conversation && self.rng.f64() < conversation::TOOLS;
        let (module, kind, input) = match (self.is_conversation, self.is_tool) {
            (true, true) => {
                let tools =
                    ["look_up", "search", "calculate", "think", "book", "cancel", "update", "transfer"];
                (tools[self.rng.usize(0..tools.len())], StepKind::Tool, &conversation::TOOL_INPUT)
            }
            (true, false) => ("respond", StepKind::Llm, &conversation::LLM_INPUT),
            (false, _) => ("search", StepKind::Other, &search::STEP_INPUT),
        };
        let mut attributes = Attributes::new();
        if self.is_tool {
            attributes.insert("messages".to_owned(), self.json(words, &conversation::TOOL_ATTRIBUTES));
        }
        StepStarted {
            step: self.step_id(),
            module: Some(module.to_owned()),
            kind: Some(kind),
            input: self.text(words, input),
            attributes,
            ..StepStarted::default()
        }
    }

    fn decide(&mut self, words: &Words) -> DecisionMade {
        let count = draw(&mut self.rng, &search::OPTIONS);
        let mut options = Vec::with_capacity(count);
        for _ in 0..count {
            let option = self.text(words, &search::OPTION).unwrap_or_default();
            options.push(ConsideredOption::scored(option, f64::from(self.rng.u16(0..3_000)) / 1_000.0));
        }
        DecisionMade {
            decision: DecisionId::new(self.step.to_string()).expect("an id"),
            step: Some(self.step_id()),
            decision_type: Some("select".to_owned()),
            chosen_options: options.iter().take(search::CHOSEN).map(|option| option.option.clone()).collect(),
            options_considered: options,
            ..DecisionMade::default()
        }
    }

    fn end_step(&mut self, words: &Words) -> StepEnded {
        let output = match (self.is_conversation, self.is_tool) {
            (true, true) => &conversation::TOOL_OUTPUT,
            (true, false) => &conversation::LLM_OUTPUT,
            (false, _) => &search::STEP_OUTPUT,
        };
        let output = self.text(words, output);
        let fails = self.is_tool && self.rng.f64() < conversation::TOOL_ERRORS;
        // About four characters of a text are a token, and a prompt repeats what was said before.
        let written = output.as_ref().map(|output| output.len() as u64 / 4).filter(|_| !self.is_tool);
        StepEnded {
            step: self.step_id(),
            status: if fails { StepEnd::Error } else { StepEnd::Ok },
            output,
            tokens_input: written.map(|_| 1_600 + 150 * u64::from(self.step)),
            tokens_output: written,
            error: fails.then(|| words.text(&mut self.rng, 54)),
            ..StepEnded::default()
        }
    }

    fn find(&mut self, words: &Words) -> FindingRaised {
        let (description, evidence) = match self.is_conversation {
            true => (164, &conversation::EVIDENCE),
            false => (58, &search::EVIDENCE),
        };
        FindingRaised {
            finding: FindingId::new("1").expect("an id"),
            category: Some("task".to_owned()),
            pattern_type: Some("reward".to_owned()),
            severity: Some(Severity::High),
            outcome: Some(Outcome::Fail),
            title: Some(words.text(&mut self.rng, 32)),
            description: Some(words.text(&mut self.rng, description)),
            plain_english: Some(words.text(&mut self.rng, 57)),
            evidence: Some(self.json(words, evidence)),
            ..FindingRaised::default()
        }
    }

    fn end(&mut self, words: &Words) -> SessionEnded {
        let attributes = match self.is_conversation {
            true => &conversation::END_ATTRIBUTES,
            false => &search::END_ATTRIBUTES,
        };
        SessionEnded {
            status: if self.fails { SessionEnd::Failed } else { SessionEnd::Completed },
            scores: BTreeMap::from([("reward".to_owned(), if self.fails { 0.0 } else { 1.0 })]),
            attributes: Attributes::from([("info".to_owned(), self.json(words, attributes))]),
            ..SessionEnded::default()
        }
    }
}
