//! Extractors of parameters, with problems as their errors.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use crate::server::app::App;
use crate::server::problem::{Kind, Problem};

/// The query of a request. An unknown parameter is an error: a misspelled filter must not let everything
/// through.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<App> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Query<T>, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        if let Some(empty) = query.split('&').find(|pair| pair.ends_with('=')) {
            // An empty value would count as an absent parameter, and let everything through.
            return Err(Problem::new(Kind::BadRequest, format!("the query: `{empty}` has no value")));
        }
        axum_extra::extract::Query::try_from_uri(&parts.uri)
            .map(|axum_extra::extract::Query(query)| Query(query))
            .map_err(|error| Problem::new(Kind::BadRequest, format!("the query: {}", cause(&error))))
    }
}

/// A part of the path.
pub(crate) struct Path<T>(pub(crate) T);

impl<T: DeserializeOwned + Send> FromRequestParts<App> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Path<T>, Problem> {
        axum::extract::Path::<T>::from_request_parts(parts, app)
            .await
            .map(|axum::extract::Path(path)| Path(path))
            .map_err(|error| Problem::new(Kind::BadRequest, format!("the path: {}", cause(&error))))
    }
}

fn cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
