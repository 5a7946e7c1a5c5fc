//! The log's own types in the description of the API.

use std::borrow::Cow;

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, Schema, SchemaFormat, SchemaType, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::event::{Digest, EventId, Json, Seq, Timestamp};

fn text(format: Option<SchemaFormat>) -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(Type::String).format(format).build().into()
}

impl PartialSchema for Seq {
    fn schema() -> RefOr<Schema> {
        let format = SchemaFormat::KnownFormat(KnownFormat::Int64);
        ObjectBuilder::new()
            .schema_type(Type::Integer)
            .format(Some(format))
            .minimum(Some(0))
            .maximum(Some(i64::MAX))
            .build()
            .into()
    }
}

impl PartialSchema for Timestamp {
    fn schema() -> RefOr<Schema> {
        text(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
    }
}

impl PartialSchema for EventId {
    fn schema() -> RefOr<Schema> {
        text(Some(SchemaFormat::Custom("uuid".to_owned())))
    }
}

impl PartialSchema for Digest {
    fn schema() -> RefOr<Schema> {
        text(None)
    }
}

impl PartialSchema for Json {
    fn schema() -> RefOr<Schema> {
        // Null is not among them: a value that is null is absent.
        let types = [Type::Object, Type::Array, Type::String, Type::Number, Type::Boolean];
        ObjectBuilder::new()
            .schema_type(SchemaType::from_iter(types))
            .description(Some("Any JSON value except null"))
            .build()
            .into()
    }
}

macro_rules! named {
    ($( $type:ty = $name:literal ),*) => { $(
        impl ToSchema for $type {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed($name)
            }
        }
    )* };
}

named!(Seq = "Seq", Timestamp = "Timestamp", EventId = "EventId", Digest = "Digest", Json = "Json");
