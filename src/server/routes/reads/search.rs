//! Full-text search.

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::event::Seq;
use crate::query::{Hit, SearchFilter, SearchOrder};
use crate::server::app::App;
use crate::server::problem::{Problem, ProblemDetails};
use crate::server::request::auth::{Allowed, ReadContent};
use crate::server::request::extract::Query;
use crate::server::routes::reads::answer::{List, answer};
use crate::server::routes::reads::params::{KindWord, Limit, place};

/// The order of hits.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Order {
    /// The newest first.
    #[default]
    Newest,
    /// The best match first. There is one page only.
    Rank,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct SearchQuery {
    /// Words that must all be in one event. Words in double quotes are a phrase. A star at the end of a word
    /// matches all words that begin with it.
    q: String,
    /// Only events of this session.
    session: Option<String>,
    /// Only events of this type.
    #[param(inline)]
    kind: Option<KindWord>,
    #[serde(default)]
    #[param(inline)]
    order: Order,
    #[serde(default)]
    #[param(inline)]
    limit: Limit,
    /// The `next` of the previous page.
    #[param(pattern = "^[0-9]{1,18}$")]
    cursor: Option<String>,
}

/// A page of hits.
#[derive(ToSchema)]
#[expect(dead_code, reason = "a description")]
pub(crate) struct HitPage {
    hits: Vec<Hit>,
    /// The `cursor` of the next page; null if there is none.
    next: Option<String>,
    /// Number of events of the log that some read table does not hold yet.
    lag: u64,
}

/// Finds the events that have given words.
#[utoipa::path(get, path = "/v1/search", tag = "read", params(SearchQuery), responses(
    (status = 200, description = "A page of the list", body = HitPage),
    (status = 400, description = "A parameter is invalid, or there are no words to search for", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 401, description = "A valid API key is needed", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "The key lacks the `read` scope", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 429, description = "Too many requests", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, description = "The request cannot be served now; send it again later", body = ProblemDetails, content_type = "application/problem+json"),
))]
pub(crate) async fn search(
    State(app): State<App>,
    _: Allowed<ReadContent>,
    Query(query): Query<SearchQuery>,
) -> Result<Response, Problem> {
    let limit = query.limit.0;
    let filter = SearchFilter {
        text: query.q,
        session: query.session,
        kind: query.kind.map(|word| word.0),
        before: place(query.cursor.as_deref())?.map(Seq::new),
        order: match query.order {
            Order::Newest => SearchOrder::Newest,
            Order::Rank => SearchOrder::Rank,
        },
        // One more than the page has: if it is found, another page follows.
        limit: limit + 1,
    };
    answer(&app, move |reader, output| {
        let mut hits = reader.search(&filter)?;
        // The cursor is a sequence number, which means nothing in the order of rank.
        let more = hits.len() > limit && filter.order == SearchOrder::Newest;
        hits.truncate(limit);
        let next = hits.last().filter(|_| more).map(|hit| hit.seq.to_string());
        output.json(&List { name: "hits", items: &hits, next, lag: reader.lag()? })
    })
    .await
}
