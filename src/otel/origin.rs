//! The resource and the scope that a span, log record or metric comes from, as attributes.

use super::node::Node;
use super::record;
use crate::event::{Attributes, Json};

/// Adds all of a resource or scope below `prefix`, its attributes as one object.
pub(super) fn add(prefix: &str, node: &Node<'_>, schema_url: Option<&str>, into: &mut Attributes) {
    if let Some(attributes) = record::object(record::attributes(node)) {
        into.insert(format!("{prefix}.attributes"), Json::written(attributes));
    }
    add_rest(prefix, node, schema_url, into);
}

/// Adds a resource to its session. Its attributes keep their names.
pub(super) fn add_to_session(node: &Node<'_>, schema_url: Option<&str>, into: &mut Attributes) {
    for (name, value) in record::attributes(node) {
        into.insert(name.to_owned(), Json::written(value.to_json()));
    }
    add_rest("otel.resource", node, schema_url, into);
}

fn add_rest(prefix: &str, node: &Node<'_>, schema_url: Option<&str>, into: &mut Attributes) {
    record::add_malformed(&format!("{prefix}.malformed_attributes"), node, into);
    for (name, value) in record::others(node, &["attributes"]) {
        into.insert(format!("{prefix}.{name}"), Json::written(value.to_json()));
    }
    if let Some(url) = schema_url.filter(|url| !url.is_empty()) {
        into.insert(format!("{prefix}.schema_url"), Json::text(url));
    }
}
