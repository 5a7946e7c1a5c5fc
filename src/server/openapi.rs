//! The description of the API, made from the routes themselves.

use std::sync::LazyLock;

use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use utoipa::ToSchema;
use utoipa::openapi::SecurityRequirement;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder};

use super::router;

/// The name of the security scheme.
const SCHEME: &str = "key";

/// What went wrong, as RFC 9457 has it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "a description")]
pub(crate) struct ProblemDetails {
    /// What kind of problem it is.
    #[schema(example = "urn:annals:problem:not-found")]
    r#type: String,
    /// The kind in words.
    title: String,
    /// The status of the answer.
    status: u16,
    /// What went wrong this time, and what to do.
    detail: String,
    /// Seconds to wait before sending again.
    retry_after: Option<u64>,
}

/// Routes that the router does not describe by itself.
#[derive(utoipa::OpenApi)]
#[openapi(paths(super::evidence::tile))]
struct Beside;

/// The document without its routes.
pub(super) fn frame() -> OpenApi {
    let key = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("An API key, `annals_…`. Where the log has no keys, none is needed."))
        .build();
    let mut frame = OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Annals")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some("An append-only audit log for reasoning pipelines."))
                .license(Some(LicenseBuilder::new().name("MIT OR Apache-2.0").build()))
                .build(),
        )
        .components(Some(ComponentsBuilder::new().security_scheme(SCHEME, SecurityScheme::Http(key)).build()))
        .security(Some([SecurityRequirement::new(SCHEME, Vec::<String>::new())]))
        .build();
    frame.merge(<Beside as utoipa::OpenApi>::openapi());
    frame
}

static DOCUMENT: LazyLock<String> =
    LazyLock::new(|| router::routes().to_openapi().to_json().unwrap_or_default());

/// This description.
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "about",
    security(()),
    responses((status = 200, description = "The description of this API", content_type = "application/json", body = Object))
)]
pub(crate) async fn document() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], DOCUMENT.as_str())
}
