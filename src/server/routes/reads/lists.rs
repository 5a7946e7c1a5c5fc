//! Steps, decisions, findings and timelines, of one session or of all.

use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::query::lists::{ListFilter, Listed};
use crate::query::{Decision, Finding, Step, TimelineEntry};
use crate::server::app::App;
use crate::server::problem::{Kind, Problem, ProblemDetails};
use crate::server::request::auth::{Allowed, ReadContent};
use crate::server::request::extract::{Path, Query};
use crate::server::routes::reads::answer::{List, answer};
use crate::server::routes::reads::params::{
    FindingStatusWord, Fraction, Limit, Margin, OutcomeWord, SeverityWord, StepKindWord, StepStatusWord,
    cursor,
};

/// Answers with a page of a list. If a session is named, it must exist.
async fn list<R: Listed + Serialize + Send + 'static>(
    app: &App,
    name: &'static str,
    session: Option<String>,
    filter: ListFilter,
) -> Result<Response, Problem> {
    answer(app, move |reader, output| {
        if let Some(session) = &session
            && !reader.has_session(session)?
        {
            return Err(no_session(session));
        }
        let page = reader.list::<R>(&filter)?;
        let next = page.next.map(|next| next.to_string());
        output.json(&List { name, items: &page.items, next, lag: reader.lag()? })
    })
    .await
}

pub(super) fn no_session(id: &str) -> Problem {
    Problem::new(Kind::NotFound, format!("there is no session `{id}`, or the read tables do not hold it yet"))
}

/// A page of a list.
macro_rules! page_schema {
    ($( $page:ident = $list:ident: $item:ty; )*) => { $(
        /// A page of a list.
        #[derive(ToSchema)]
        #[expect(dead_code, reason = "a description")]
        pub(crate) struct $page {
            $list: Vec<$item>,
            /// The `cursor` of the next page; null if this is the last page. Every other page may be short or
            /// empty.
            next: Option<String>,
            /// Number of events of the log that some read table does not hold yet.
            lag: u64,
        }
    )* };
}

page_schema! {
    StepPage = steps: Step;
    DecisionPage = decisions: Decision;
    FindingPage = findings: Finding;
    TimelinePage = timeline: TimelineEntry;
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct StepQuery {
    /// Only steps of this session.
    session: Option<String>,
    /// Only steps of this module.
    module: Option<String>,
    /// Only steps that call this model.
    model: Option<String>,
    /// Only steps of this kind.
    #[param(inline)]
    kind: Option<StepKindWord>,
    #[param(inline)]
    status: Option<StepStatusWord>,
    /// Only steps with at most this confidence.
    #[param(inline)]
    max_confidence: Option<Fraction>,
    #[serde(default)]
    #[param(inline)]
    limit: Limit,
    /// The `next` of the previous page.
    #[param(pattern = "^[0-9]{1,18}-[0-9]{1,18}-[0-9]{1,18}$")]
    cursor: Option<String>,
}

impl StepQuery {
    fn filter(self) -> Result<ListFilter, Problem> {
        Ok(ListFilter::new(self.session, cursor(self.cursor.as_deref())?, self.limit.0)
            .equal("module", self.module)
            .equal("model", self.model)
            .equal("kind", self.kind.map(|word| word.0))
            .equal("status", self.status.map(|word| word.0))
            .at_most("confidence", self.max_confidence.map(|most| most.0)))
    }
}

/// Lists steps: with `session` in the order of the log, else in reverse order with the newest session first.
#[utoipa::path(get, path = "/v1/steps", tag = "read", params(StepQuery), responses(
    (status = 200, description = "A page of the list", body = StepPage),
    (status = 400, description = "A parameter is invalid", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 401, description = "A valid API key is needed", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "The key lacks the `read` scope", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 429, description = "Too many requests", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, description = "The request cannot be served now; send it again later", body = ProblemDetails, content_type = "application/problem+json"),
))]
pub(crate) async fn steps(
    State(app): State<App>,
    _: Allowed<ReadContent>,
    Query(query): Query<StepQuery>,
) -> Result<Response, Problem> {
    list::<Step>(&app, "steps", None, query.filter()?).await
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DecisionQuery {
    /// Only decisions of this session.
    session: Option<String>,
    /// Only decisions that were made in this step.
    step: Option<String>,
    /// Only decisions in steps of this module.
    module: Option<String>,
    /// Only decisions of this type.
    decision_type: Option<String>,
    /// Only decisions that chose this option, alone or among others.
    chosen_option: Option<String>,
    /// Only decisions of this actor.
    actor: Option<String>,
    /// Only decisions with at most this confidence.
    #[param(inline)]
    max_confidence: Option<Fraction>,
    /// Only decisions with at most this margin: the lowest score of a chosen option, minus the highest score of an
    /// option that was not chosen.
    #[param(inline)]
    max_margin: Option<Margin>,
    #[serde(default)]
    #[param(inline)]
    limit: Limit,
    /// The `next` of the previous page.
    #[param(pattern = "^[0-9]{1,18}-[0-9]{1,18}-[0-9]{1,18}$")]
    cursor: Option<String>,
}

impl DecisionQuery {
    fn filter(self) -> Result<ListFilter, Problem> {
        Ok(ListFilter::new(self.session, cursor(self.cursor.as_deref())?, self.limit.0)
            .equal("step_id", self.step)
            .of_module(self.module)
            .equal("decision_type", self.decision_type)
            .choosing(self.chosen_option)
            .margin_at_most(self.max_margin.map(|most| most.0))
            .equal("actor", self.actor)
            .at_most("confidence", self.max_confidence.map(|most| most.0)))
    }
}

/// Lists decisions: with `session` in the order of the log, else in reverse order with the newest session first.
#[utoipa::path(get, path = "/v1/decisions", tag = "read", params(DecisionQuery), responses(
    (status = 200, description = "A page of the list", body = DecisionPage),
    (status = 400, description = "A parameter is invalid", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 401, description = "A valid API key is needed", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "The key lacks the `read` scope", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 429, description = "Too many requests", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, description = "The request cannot be served now; send it again later", body = ProblemDetails, content_type = "application/problem+json"),
))]
pub(crate) async fn decisions(
    State(app): State<App>,
    _: Allowed<ReadContent>,
    Query(query): Query<DecisionQuery>,
) -> Result<Response, Problem> {
    list::<Decision>(&app, "decisions", None, query.filter()?).await
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct FindingQuery {
    /// Only findings of this session.
    session: Option<String>,
    /// Only findings of this step.
    step: Option<String>,
    /// Only findings of steps of this module.
    module: Option<String>,
    /// Only findings of this category.
    category: Option<String>,
    /// Only findings of this rule or pattern.
    pattern_type: Option<String>,
    #[param(inline)]
    severity: Option<SeverityWord>,
    #[param(inline)]
    outcome: Option<OutcomeWord>,
    #[param(inline)]
    status: Option<FindingStatusWord>,
    #[serde(default)]
    #[param(inline)]
    limit: Limit,
    /// The `next` of the previous page.
    #[param(pattern = "^[0-9]{1,18}-[0-9]{1,18}-[0-9]{1,18}$")]
    cursor: Option<String>,
}

impl FindingQuery {
    fn filter(self) -> Result<ListFilter, Problem> {
        Ok(ListFilter::new(self.session, cursor(self.cursor.as_deref())?, self.limit.0)
            .equal("step_id", self.step)
            .of_module(self.module)
            .equal("category", self.category)
            .equal("pattern_type", self.pattern_type)
            .equal("severity", self.severity.map(|word| word.0))
            .equal("outcome", self.outcome.map(|word| word.0))
            .equal("status", self.status.map(|word| word.0)))
    }
}

/// Lists findings: with `session` in the order of the log, else in reverse order with the newest session first.
#[utoipa::path(get, path = "/v1/findings", tag = "read", params(FindingQuery), responses(
    (status = 200, description = "A page of the list", body = FindingPage),
    (status = 400, description = "A parameter is invalid", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 401, description = "A valid API key is needed", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "The key lacks the `read` scope", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 429, description = "Too many requests", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, description = "The request cannot be served now; send it again later", body = ProblemDetails, content_type = "application/problem+json"),
))]
pub(crate) async fn findings(
    State(app): State<App>,
    _: Allowed<ReadContent>,
    Query(query): Query<FindingQuery>,
) -> Result<Response, Problem> {
    list::<Finding>(&app, "findings", None, query.filter()?).await
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    #[serde(default)]
    #[param(inline)]
    limit: Limit,
    /// The `next` of the previous page.
    #[param(pattern = "^[0-9]{1,18}-[0-9]{1,18}-[0-9]{1,18}$")]
    cursor: Option<String>,
}

macro_rules! of_session {
    ($( $(#[$doc:meta])* $handler:ident $path:literal $name:literal: $item:ty => $page:ident; )*) => { $(
        $(#[$doc])*
        #[utoipa::path(
            get,
            path = $path,
            tag = "read",
            params(("id" = String, Path, description = "The session's id"), PageQuery),
            responses(
                (status = 200, description = "A page of the list", body = $page),
                (status = 400, description = "A parameter is invalid", body = ProblemDetails, content_type = "application/problem+json"),
                (status = 401, description = "A valid API key is needed", body = ProblemDetails, content_type = "application/problem+json"),
                (status = 403, description = "The key lacks the `read` scope", body = ProblemDetails, content_type = "application/problem+json"),
                (status = 404, description = "There is no such session", body = ProblemDetails, content_type = "application/problem+json"),
                (status = 429, description = "Too many requests", body = ProblemDetails, content_type = "application/problem+json"),
                (status = 503, description = "The request cannot be served now; send it again later", body = ProblemDetails, content_type = "application/problem+json"),
            )
        )]
        pub(crate) async fn $handler(
            State(app): State<App>,
            _: Allowed<ReadContent>,
            Path(id): Path<String>,
            Query(query): Query<PageQuery>,
        ) -> Result<Response, Problem> {
            let filter = ListFilter::new(Some(id.clone()), cursor(query.cursor.as_deref())?, query.limit.0);
            list::<$item>(&app, $name, Some(id), filter).await
        }
    )* };
}

of_session! {
    /// Lists the steps of a session.
    session_steps "/v1/sessions/{id}/steps" "steps": Step => StepPage;
    /// Lists the decisions of a session.
    session_decisions "/v1/sessions/{id}/decisions" "decisions": Decision => DecisionPage;
    /// Lists the findings of a session.
    session_findings "/v1/sessions/{id}/findings" "findings": Finding => FindingPage;
    /// Lists the events of a session, without their content.
    session_timeline "/v1/sessions/{id}/timeline" "timeline": TimelineEntry => TimelinePage;
}
