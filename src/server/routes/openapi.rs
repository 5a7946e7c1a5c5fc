//! The description of the API, made from the routes themselves.

use utoipa::openapi::SecurityRequirement;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder};

/// The name of the security scheme.
const SCHEME: &str = "key";

/// Routes that the router does not describe by itself.
#[derive(utoipa::OpenApi)]
#[openapi(paths(super::evidence::tile))]
struct Beside;

/// The document without its routes.
pub(in crate::server) fn frame() -> OpenApi {
    let key = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("An API key, `annals_…`. None is needed while the log has no keys."))
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
