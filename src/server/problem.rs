//! Error answers: problem details, as RFC 9457 defines them.

use axum::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// The media type of problem details.
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// The content of an answer that is not a success.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Problem {
    /// The kind of the problem, as a URN of Annals' own.
    #[serde(rename = "type")]
    pub(crate) kind: Kind,
    /// The kind in words. It is the same for every problem of the kind.
    pub(crate) title: &'static str,
    #[serde(serialize_with = "as_number")]
    pub(crate) status: StatusCode,
    /// The cause of this problem, and what the client can do.
    pub(crate) detail: String,
    /// Seconds that the client waits before it sends the request again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retry_after: Option<u64>,
}

fn as_number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

macro_rules! kinds {
    ($( $name:ident: $urn:literal, $status:ident, $title:literal; )*) => {
        /// The kinds of problems.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
        pub(crate) enum Kind {
            $( #[serde(rename = $urn)] $name, )*
        }

        impl Kind {
            /// The last part of the URN. Metrics use it as a label.
            pub(crate) fn name(self) -> &'static str {
                match self { $( Kind::$name => $urn.rsplit(':').next().unwrap_or($urn), )* }
            }

            pub(crate) fn title(self) -> &'static str {
                match self { $( Kind::$name => $title, )* }
            }

            /// The status of an answer that has only this problem.
            pub(crate) fn status(self) -> StatusCode {
                match self { $( Kind::$name => StatusCode::$status, )* }
            }
        }
    };
}

kinds! {
    BadRequest: "urn:annals:problem:bad-request", BAD_REQUEST, "The request cannot be understood";
    NotJson: "urn:annals:problem:not-json", BAD_REQUEST, "The body is not JSON";
    BadEncoding: "urn:annals:problem:bad-encoding", BAD_REQUEST, "The body does not have the encoding that its header names";
    Unauthorized: "urn:annals:problem:unauthorized", UNAUTHORIZED, "A valid API key is needed";
    Forbidden: "urn:annals:problem:forbidden", FORBIDDEN, "The API key does not allow this";
    NotFound: "urn:annals:problem:not-found", NOT_FOUND, "The resource does not exist";
    MethodNotAllowed: "urn:annals:problem:method-not-allowed", METHOD_NOT_ALLOWED, "The method is not allowed here";
    Timeout: "urn:annals:problem:timeout", REQUEST_TIMEOUT, "The request did not arrive in time";
    Conflict: "urn:annals:problem:conflict", CONFLICT, "Another event has this id";
    NotPossible: "urn:annals:problem:not-possible", CONFLICT, "The state of the log does not allow this";
    NotRedactable: "urn:annals:problem:not-redactable", UNPROCESSABLE_ENTITY, "The event cannot be redacted";
    TooLarge: "urn:annals:problem:too-large", PAYLOAD_TOO_LARGE, "The content is too large";
    UnsupportedMediaType: "urn:annals:problem:unsupported-media-type", UNSUPPORTED_MEDIA_TYPE, "The media type or the encoding of the body is not supported";
    InvalidEvent: "urn:annals:problem:invalid-event", UNPROCESSABLE_ENTITY, "The event cannot be recorded as it is";
    Reserved: "urn:annals:problem:reserved", UNPROCESSABLE_ENTITY, "Only Annals itself writes events of this type";
    Filtered: "urn:annals:problem:filtered", UNPROCESSABLE_ENTITY, "The log's filter refused the event";
    EventsRefused: "urn:annals:problem:events-refused", UNPROCESSABLE_ENTITY, "Some events were refused; the others are committed";
    InvalidValue: "urn:annals:problem:invalid-value", UNPROCESSABLE_ENTITY, "A value cannot be accepted";
    TooManyRequests: "urn:annals:problem:too-many-requests", TOO_MANY_REQUESTS, "Too many requests";
    Internal: "urn:annals:problem:internal", INTERNAL_SERVER_ERROR, "An internal error in the server";
    NotWritten: "urn:annals:problem:not-written", SERVICE_UNAVAILABLE, "Some events may not be committed";
    Overloaded: "urn:annals:problem:overloaded", SERVICE_UNAVAILABLE, "The server is overloaded";
    Unavailable: "urn:annals:problem:unavailable", SERVICE_UNAVAILABLE, "The log cannot be used now";
}

impl Problem {
    pub(crate) fn new(kind: Kind, detail: impl Into<String>) -> Problem {
        let status = kind.status();
        // These two statuses are temporary. One second is the wait of callers that know no better one.
        let retry_after =
            matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS).then_some(1);
        Problem { kind, title: kind.title(), status, detail: detail.into(), retry_after }
    }

    pub(crate) fn retry_after(mut self, seconds: u64) -> Problem {
        self.retry_after = Some(seconds);
        self
    }

    /// The problem for an answer that has a status and no content.
    pub(super) fn of_status(status: StatusCode) -> Problem {
        let (kind, detail) = match status {
            StatusCode::BAD_REQUEST => (Kind::BadRequest, "the request cannot be understood"),
            StatusCode::UNAUTHORIZED => (Kind::Unauthorized, "send an API key"),
            StatusCode::FORBIDDEN => (Kind::Forbidden, "the API key does not allow this"),
            StatusCode::NOT_FOUND => {
                (Kind::NotFound, "there is nothing at this path; GET /openapi.json lists the paths")
            }
            StatusCode::METHOD_NOT_ALLOWED => {
                (Kind::MethodNotAllowed, "the header Allow names the methods of this path")
            }
            StatusCode::REQUEST_TIMEOUT => (Kind::Timeout, "the request took too long"),
            StatusCode::PAYLOAD_TOO_LARGE => (Kind::TooLarge, "the body is too large"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                (Kind::UnsupportedMediaType, "the media type or the encoding of the body is not supported")
            }
            StatusCode::UNPROCESSABLE_ENTITY => (Kind::InvalidValue, "a value cannot be accepted"),
            StatusCode::TOO_MANY_REQUESTS => (Kind::TooManyRequests, "send requests more slowly"),
            StatusCode::SERVICE_UNAVAILABLE => (Kind::Unavailable, "try again soon"),
            status if status.is_client_error() => (Kind::BadRequest, "the request cannot be answered"),
            _ => (Kind::Internal, "an internal error in the server; the server's own log has the reason"),
        };
        Problem { status, ..Problem::new(kind, detail) }
    }

    /// The answer with the status and the headers of this problem. `body` is the text of a JSON object that
    /// has the problem's members, and may have others.
    pub(crate) fn with_members(self, body: Vec<u8>) -> Response {
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        // An object of texts and numbers always has a JSON form.
        let body = serde_json::to_vec(&self).unwrap_or_default();
        self.with_members(body)
    }
}

/// Replaces an error that the framework answered by itself with a problem of the same status. Returns other
/// answers as they are.
pub(super) fn explained(response: Response) -> Response {
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    let has_body = response.headers().contains_key(CONTENT_TYPE);
    // The framework's own errors are empty or plain text. Handlers answer errors as JSON, or in the encoding
    // of an OTLP request.
    if !is_error || (has_body && !is_plain(&response)) {
        return response;
    }
    // RFC 9110 requires this header in an answer 405.
    let allow = response.headers().get(ALLOW).cloned();
    let mut explained = Problem::of_status(status).into_response();
    if let Some(allow) = allow {
        explained.headers_mut().insert(ALLOW, allow);
    }
    explained
}

fn is_plain(response: &Response) -> bool {
    let media_type = response.headers().get(CONTENT_TYPE);
    media_type.is_some_and(|media_type| media_type.as_bytes().starts_with(b"text/plain"))
}

/// A problem, as RFC 9457 defines it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "a description")]
pub(crate) struct ProblemDetails {
    /// The kind of the problem, as a URN.
    #[schema(example = "urn:annals:problem:not-found")]
    r#type: String,
    /// The kind of the problem, in words.
    title: String,
    /// The HTTP status of the answer.
    status: u16,
    /// The cause of this problem, and the remedy.
    detail: String,
    /// Seconds to wait before the client sends the request again.
    retry_after: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_says_its_kind_status_and_what_to_do() {
        let problem = Problem::new(Kind::Overloaded, "the queue is full").retry_after(2);
        assert_eq!(
            serde_json::to_string(&problem).unwrap(),
            r#"{"type":"urn:annals:problem:overloaded","title":"The server is overloaded","status":503,"detail":"the queue is full","retry_after":2}"#
        );
        let response = problem.into_response();
        assert_eq!(response.headers()[RETRY_AFTER], "2");
        assert_eq!(response.headers()[CONTENT_TYPE], PROBLEM_JSON);
    }

    #[test]
    fn an_answer_of_the_framework_without_a_word_gets_one() {
        let mut bare = StatusCode::METHOD_NOT_ALLOWED.into_response();
        bare.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
        let response = explained(bare);
        assert_eq!(response.headers()[CONTENT_TYPE], PROBLEM_JSON);
        assert_eq!(response.headers()[ALLOW], "GET");
        assert_eq!(explained(StatusCode::NO_CONTENT.into_response()).headers().get(CONTENT_TYPE), None);
    }
}
