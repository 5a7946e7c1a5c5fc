//! The judgements about a session and its parts: reviews by people, and decisions of policy engines.

use std::io;

use crate::Json;
use crate::query::{PolicyDecision, Review};

use super::print::{Page, joined};
use crate::cli::out::{BOLD, DIM, style_of};
use crate::cli::{text, time};

impl Page<'_> {
    /// Prints the reviews of an item.
    pub(super) fn reviews(&mut self, kind: &str, id: &str, indent: usize) -> io::Result<()> {
        let reviews: Vec<&Review> = self
            .record
            .reviews
            .iter()
            .filter(|review| review.subject_kind == kind && review.subject_id.as_deref() == Some(id))
            .collect();
        for review in reviews {
            let by = joined(&[Some(review.verdict.as_str()), Some("by"), Some(review.actor.as_str())], " ");
            let identified = review.identified_by.as_ref().map(|how| format!("identified by {how}"));
            let until = review.expires_at.map(|until| format!("until {} UTC", time::shown(until)));
            let facts = [
                by.as_deref(),
                review.role.as_deref(),
                review.authority.as_deref(),
                identified.as_deref(),
                until.as_deref(),
            ];
            let said = joined(&[joined(&facts, ", ").as_deref(), review.reason.as_deref()], ": ");
            self.text(indent, "review", said.as_deref())?;
            self.text(indent, "saw", review.evidence_seen.as_ref().and_then(listed).as_deref())?;
            self.text(indent, "approved", review.approved_digest.as_deref())?;
        }
        Ok(())
    }

    /// Prints what the programs that recorded the session said of its record, and what is missing.
    pub(super) fn coverage(&mut self) -> io::Result<()> {
        for declaration in &self.record.coverage_declarations {
            let records = declaration.records.as_ref().and_then(listed);
            let omits = declaration.omits.as_ref().and_then(listed).map(|omits| format!("not {omits}"));
            // One that only counts says nothing unless something is missing.
            if let Some(said) = joined(&[records.as_deref(), omits.as_deref()], ", ") {
                self.text(2, "coverage", Some(&format!("{} records {said}", declaration.source)))?;
            }
        }
        for gap in &self.record.coverage_gaps {
            let said = format!(
                "{} announced {} of type `{}`, and {} of them are recorded",
                gap.sources,
                crate::cli::record::events(gap.announced),
                gap.kind,
                gap.recorded
            );
            self.text(2, "incomplete", Some(&said))?;
        }
        Ok(())
    }

    /// Prints a decision of a policy engine.
    pub(super) fn policy_decision(&mut self, decision: &PolicyDecision, indent: usize) -> io::Result<()> {
        let mut head = format!("{}{} ", " ".repeat(indent), self.out.paint(DIM, "■"));
        head += &self.out.paint(BOLD, &self.cut(&text::line(&decision.policy)));
        head += &format!("  {}", self.out.paint(style_of(&decision.effect), &text::line(&decision.effect)));
        let subject = [decision.subject_kind.as_deref(), decision.subject_id.as_deref()];
        let facts = [
            joined(&subject, " "),
            decision.rule.as_ref().map(|rule| format!("rule {rule}")),
            decision.policy_version.as_ref().map(|version| format!("version {version}")),
            decision.actor.as_ref().map(|actor| format!("by {actor}")),
        ];
        for fact in facts.iter().flatten() {
            head += &format!("  {}", self.out.paint(DIM, &text::line(fact)));
        }
        self.out.line(&head)?;
        self.text(indent + 2, "because", decision.reason.as_deref())?;
        self.text(indent + 2, "in", decision.input.as_ref().map(Json::as_str))?;
        self.text(indent + 2, "more", decision.attributes.as_ref().map(Json::as_str))
    }
}

/// A JSON list of texts in a line.
fn listed(json: &Json) -> Option<String> {
    let texts: Vec<String> = serde_json::from_str(json.as_str()).ok()?;
    Some(texts.join(", "))
}
