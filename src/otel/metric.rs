//! A data point of a metric as `metric.recorded`. The names are those of
//! <https://github.com/open-telemetry/opentelemetry-proto>, `metrics/v1/metrics.proto` (1.9).

use super::node::{Node, write_float, write_list};
use super::{origin, record};
use crate::event::{Attributes, Json, MetricRecorded, Timestamp};
use crate::limits::ITEMS_MAX;

/// The bit of a point's flags by which the point has no value: its series ended or had a gap.
const NO_RECORDED_VALUE: u64 = 1;

/// The kinds of data of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MetricKind {
    Gauge,
    Sum,
    Histogram,
    ExponentialHistogram,
    Summary,
}

impl MetricKind {
    fn as_str(self) -> &'static str {
        match self {
            MetricKind::Gauge => "gauge",
            MetricKind::Sum => "sum",
            MetricKind::Histogram => "histogram",
            MetricKind::ExponentialHistogram => "exponential_histogram",
            MetricKind::Summary => "summary",
        }
    }
}

/// The part of a metric that its points share, as OTLP's JSON has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MetricHead<'m> {
    pub(crate) name: &'m str,
    pub(crate) description: &'m str,
    pub(crate) unit: &'m str,
    pub(crate) kind: MetricKind,
    /// The number or the name of the enum; empty if it is absent.
    pub(crate) temporality: &'m str,
    pub(crate) is_monotonic: bool,
    /// An object with the metadata as its attributes, if there are any.
    pub(crate) metadata: Option<&'m str>,
}

/// The resource and the scope of a metric, as OTLP's JSON has them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MetricOrigin<'m> {
    pub(crate) resource: Option<&'m str>,
    pub(crate) resource_schema_url: Option<&'m str>,
    pub(crate) scope: Option<&'m str>,
    pub(crate) scope_schema_url: Option<&'m str>,
}

/// A metric whose points are being read. Made once for all of them.
#[derive(Debug)]
pub(crate) struct Metric {
    kind: MetricKind,
    /// The event of each point, without that which is the point's own.
    shared: MetricRecorded,
    bytes: usize,
}

/// A point that has a value.
#[derive(Debug)]
pub(crate) struct Measured {
    /// Times in nanoseconds since the Unix epoch. Zero if absent.
    pub(crate) started: u64,
    pub(crate) at: u64,
    pub(crate) recorded: MetricRecorded,
}

/// A type of numbers. OTLP's JSON has each as a number or as a text.
#[derive(Clone, Copy)]
struct Type {
    /// Its name in the reason for which a point is rejected.
    name: &'static str,
    read: fn(&Node<'_>) -> Option<Json>,
}

const SIGNED: Type = Type { name: "an integer of 64 bits", read: signed };
const UNSIGNED: Type = Type { name: "an integer of 64 bits, from zero", read: unsigned };
const DOUBLE: Type = Type { name: "a number", read: double };

fn signed(node: &Node<'_>) -> Option<Json> {
    node.signed().map(|number| Json::written(number.to_string()))
}

fn unsigned(node: &Node<'_>) -> Option<Json> {
    node.unsigned().map(|number| Json::written(number.to_string()))
}

/// A number with a fraction in both encodings: JSON may have it without. A text for infinity is no number of JSON.
fn double(node: &Node<'_>) -> Option<Json> {
    let number = node.number()?;
    let mut out = String::new();
    if number.is_finite() {
        write_float(number, &mut out)
    } else {
        node.write(&mut out)
    }
    Some(Json::written(out))
}

fn is_not(field: &str, name: &str) -> String {
    format!("`{field}` is not {name}")
}

/// The number of a field. None if the field is absent.
fn number(node: &Node<'_>, field: &str, of: Type) -> Result<Option<Json>, String> {
    let Some(node) = node.field(field) else { return Ok(None) };
    (of.read)(node).map(Some).ok_or_else(|| is_not(field, of.name))
}

/// The items of a field that is a list. None if there are none.
fn items<'p>(node: &'p Node<'_>, field: &str) -> Result<&'p [Node<'p>], String> {
    let Some(node) = node.field(field) else { return Ok(&[]) };
    node.list().ok_or_else(|| is_not(field, "a list"))
}

fn list(node: &Node<'_>, field: &str, of: Type) -> Result<Option<Json>, String> {
    let numbers: Option<Vec<Json>> = items(node, field)?.iter().map(of.read).collect();
    let numbers = numbers.ok_or_else(|| is_not(field, &format!("a list, each item {}", of.name)))?;
    Ok(written(&numbers))
}

fn written(items: &[Json]) -> Option<Json> {
    let mut out = String::new();
    write_list(items, &mut out, |item, out| out.push_str(item.as_str()));
    (!items.is_empty()).then(|| Json::written(out))
}

fn require_object(node: &Node<'_>, field: &str) -> Result<(), String> {
    if matches!(node, Node::Object(_)) { Ok(()) } else { Err(is_not(field, "an object")) }
}

/// The buckets of one side of an exponential histogram.
fn buckets(point: &Node<'_>, field: &str) -> Result<Option<Json>, String> {
    let Some(node) = point.field(field) else { return Ok(None) };
    require_object(node, field)?;
    let offset = number(node, "offset", SIGNED)?;
    let Some(counts) = list(node, "bucketCounts", UNSIGNED)? else { return Ok(None) };
    let offset = offset.as_ref().map_or("0", Json::as_str);
    Ok(Some(Json::written(format!("{{\"offset\":{offset},\"bucket_counts\":{}}}", counts.as_str()))))
}

/// The quantiles of a summary.
fn quantiles(point: &Node<'_>, field: &str) -> Result<Option<Json>, String> {
    let quantiles = items(point, field)?.iter().map(|item| {
        require_object(item, field)?;
        // Zero is left out by some encoders.
        let of = |name| {
            number(item, name, DOUBLE).map(|number| number.unwrap_or_else(|| Json::written("0.0".to_owned())))
        };
        let (quantile, value) = (of("quantile")?, of("value")?);
        Ok(Json::written(format!("{{\"quantile\":{},\"value\":{}}}", quantile.as_str(), value.as_str())))
    });
    let quantiles: Result<Vec<Json>, String> = quantiles.collect();
    Ok(written(&quantiles?))
}

fn nanos(point: &Node<'_>, name: &str) -> u64 {
    record::nanos(point, name).unwrap_or(0)
}

impl Metric {
    /// The metric of this head.
    pub(crate) fn new(head: &MetricHead<'_>, origin: MetricOrigin<'_>) -> Metric {
        let mut attributes = Attributes::new();
        let mut put = |name: &str, json: Json| attributes.insert(format!("otel.metric.{name}"), json);
        put("kind", Json::text(head.kind.as_str()));
        // The enum of OTLP: 1 is delta, 2 is cumulative.
        match head.temporality {
            "1" | "AGGREGATION_TEMPORALITY_DELTA" => put("temporality", Json::text("delta")),
            "2" | "AGGREGATION_TEMPORALITY_CUMULATIVE" => put("temporality", Json::text("cumulative")),
            "" | "0" => None,
            other => put("temporality", Json::text(other)),
        };
        if head.kind == MetricKind::Sum {
            put("monotonic", Json::written(head.is_monotonic.to_string()));
        }
        if !head.description.is_empty() {
            put("description", Json::text(head.description));
        }
        if let Some(node) = head.metadata.and_then(Node::parse)
            && let Some(metadata) = record::object(record::attributes(&node))
        {
            put("metadata", Json::written(metadata));
        }
        for (prefix, json, schema_url) in [
            ("otel.resource", origin.resource, origin.resource_schema_url),
            ("otel.scope", origin.scope, origin.scope_schema_url),
        ] {
            let node = json.and_then(Node::parse).unwrap_or(Node::Null);
            origin::add(prefix, &node, schema_url, &mut attributes);
        }
        let of_attributes: usize =
            attributes.iter().map(|(name, json)| name.len() + json.as_str().len()).sum();
        Metric {
            kind: head.kind,
            bytes: of_attributes + head.name.len() + head.unit.len(),
            shared: MetricRecorded {
                name: head.name.to_owned(),
                unit: Some(head.unit.to_owned()).filter(|unit| !unit.is_empty()),
                attributes,
                ..MetricRecorded::default()
            },
        }
    }

    /// The metric's name.
    pub(crate) fn name(&self) -> &str {
        &self.shared.name
    }

    /// Bytes of the event of each point, beside those of the point itself.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Reads a point in OTLP's JSON. None if it has no value.
    ///
    /// # Errors
    /// With the reason for which the point can never be recorded.
    pub(crate) fn point(&self, json: &str) -> Result<Option<Measured>, String> {
        let point = Node::parse(json)
            .filter(|node| matches!(node, Node::Object(_)))
            .ok_or("the data point is not an object, or nests too deep")?;
        for field in ["flags", "startTimeUnixNano", "timeUnixNano"] {
            number(&point, field, UNSIGNED)?;
        }
        let flags = point.field("flags").and_then(Node::unsigned).unwrap_or(0);
        if flags & NO_RECORDED_VALUE != 0 {
            return Ok(None);
        }
        let mut recorded = self.shared.clone();
        let value = match self.kind {
            MetricKind::Gauge | MetricKind::Sum => single(&point, &mut recorded.attributes)?,
            _ => Some(several(self.kind, &point, &mut recorded.attributes)?),
        };
        let Some(value) = value else { return Ok(None) };
        if !value.is_finite() {
            return Err(format!("the value is {value}, and only finite numbers are recorded"));
        }
        recorded.value = value;
        add_labels(&point, &mut recorded);
        let (started, at) = (nanos(&point, "startTimeUnixNano"), nanos(&point, "timeUnixNano"));
        let mut put =
            |name: &str, json: Json| recorded.attributes.insert(format!("otel.metric.{name}"), json);
        if started > 0 {
            let time: Option<Timestamp> = record::time(Some(started));
            put("start", Json::text(&time.map_or_else(|| started.to_string(), |time| time.to_string())));
        }
        let other_flags = flags & !NO_RECORDED_VALUE;
        if other_flags != 0 {
            put("flags", Json::written(other_flags.to_string()));
        }
        let exemplars = point.field("exemplars").and_then(Node::list).unwrap_or_default().len();
        if exemplars > 0 {
            put("exemplars_left_out", Json::written(exemplars.to_string()));
        }
        Ok(Some(Measured { started, at, recorded }))
    }
}

/// The value of a gauge or a sum. None if the point has none.
fn single(point: &Node<'_>, attributes: &mut Attributes) -> Result<Option<f64>, String> {
    let Some(integer) = number(point, "asInt", SIGNED)? else {
        number(point, "asDouble", DOUBLE)?;
        return Ok(point.field("asDouble").and_then(Node::number));
    };
    // A number of 64 bits that no float holds exactly stands beside the value.
    let Ok(exact) = integer.as_str().parse::<i64>() else { return Ok(None) };
    #[allow(clippy::cast_precision_loss)]
    let value = exact as f64;
    #[allow(clippy::cast_possible_truncation)]
    let is_exact = value as i128 == i128::from(exact);
    if !is_exact {
        attributes.insert("otel.metric.integer".to_owned(), integer);
    }
    Ok(Some(value))
}

/// The sum of several measurements, or else their number. The parts of the distribution are attributes.
fn several(kind: MetricKind, point: &Node<'_>, attributes: &mut Attributes) -> Result<f64, String> {
    let mut put = |name: &str, json: Json| attributes.insert(format!("otel.metric.{name}"), json);
    put("count", number(point, "count", UNSIGNED)?.unwrap_or_else(|| Json::written("0".to_owned())));
    for name in ["min", "max"] {
        number(point, name, DOUBLE)?.map(|json| put(name, json));
    }
    // Zero is the default of these: protocol buffers leave it out.
    for (name, field, of) in [
        ("scale", "scale", SIGNED),
        ("zero_count", "zeroCount", UNSIGNED),
        ("zero_threshold", "zeroThreshold", DOUBLE),
    ] {
        let is_set = point.field(field).and_then(Node::number) != Some(0.0);
        number(point, field, of)?.filter(|_| is_set).map(|json| put(name, json));
    }
    for (name, list) in [
        ("bounds", list(point, "explicitBounds", DOUBLE)?),
        ("bucket_counts", list(point, "bucketCounts", UNSIGNED)?),
        ("positive", buckets(point, "positive")?),
        ("negative", buckets(point, "negative")?),
        ("quantiles", quantiles(point, "quantileValues")?),
    ] {
        list.map(|list| put(name, list));
    }
    number(point, "sum", DOUBLE)?;
    Ok(match point.field("sum").and_then(Node::number) {
        Some(sum) => sum,
        // In protocol buffers the sum of a summary is not optional: zero is left out.
        None if kind == MetricKind::Summary => 0.0,
        None => {
            put("value", Json::text("count"));
            point.field("count").and_then(Node::number).unwrap_or(0.0)
        }
    })
}

/// Makes labels of the attributes. Those that the log has no room for, or that come twice, stay attributes.
fn add_labels(point: &Node<'_>, recorded: &mut MetricRecorded) {
    let mut rest = Vec::new();
    for (name, value) in record::attributes(point) {
        if recorded.labels.len() < ITEMS_MAX && !recorded.labels.contains_key(name) {
            recorded.labels.insert(name.to_owned(), value.shown().into_owned());
        } else {
            rest.push((name, value));
        }
    }
    if let Some(rest) = record::object(rest.into_iter()) {
        recorded.attributes.insert("otel.metric.attributes".to_owned(), Json::written(rest));
    }
    record::add_malformed("otel.metric.malformed_attributes", point, &mut recorded.attributes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(kind: MetricKind) -> MetricHead<'static> {
        MetricHead {
            name: "n",
            description: "",
            unit: "s",
            kind,
            temporality: "2",
            is_monotonic: true,
            metadata: None,
        }
    }

    fn point(kind: MetricKind, json: &str) -> Result<Option<Measured>, String> {
        Metric::new(&head(kind), MetricOrigin::default()).point(json)
    }

    fn told(kind: MetricKind, json: &str) -> (f64, String) {
        let recorded = point(kind, json).unwrap().unwrap().recorded;
        let attributes: Vec<String> = recorded
            .attributes
            .iter()
            .map(|(name, json)| format!("{}={}", name.strip_prefix("otel.metric.").unwrap(), json.as_str()))
            .collect();
        (recorded.value, attributes.join(" "))
    }

    #[test]
    fn a_number_is_the_value_of_its_event() {
        let common = r#"kind="sum" monotonic=true"#;
        let measured = point(
            MetricKind::Sum,
            r#"{"asInt":"2065","startTimeUnixNano":"1796060963629000000","timeUnixNano":1796060968576000001,
                "attributes":[{"key":"model","value":{"stringValue":"m"}},{"key":"code","value":{"intValue":"200"}}]}"#,
        )
        .unwrap()
        .unwrap();
        assert_eq!((measured.started, measured.at), (1_796_060_963_629_000_000, 1_796_060_968_576_000_001));
        let labels: Vec<_> = measured.recorded.labels.into_iter().collect();
        assert_eq!(labels, [("code".into(), "200".into()), ("model".into(), "m".into())]);
        assert_eq!((measured.recorded.name.as_str(), measured.recorded.unit.as_deref()), ("n", Some("s")));
        assert_eq!(
            told(MetricKind::Sum, r#"{"as_int":7,"start_time_unix_nano":"1796060963629000000"}"#),
            (7.0, format!(r#"{common} start="2026-11-30T17:49:23.629000Z" temporality="cumulative""#))
        );
        assert_eq!(
            told(MetricKind::Gauge, r#"{"asDouble":0.5,"exemplars":[{},{}]}"#),
            (0.5, r#"exemplars_left_out=2 kind="gauge" temporality="cumulative""#.to_owned())
        );
        // 2^53 + 1
        assert_eq!(
            told(MetricKind::Gauge, r#"{"asInt":"9007199254740993"}"#),
            (
                9_007_199_254_740_992.0,
                r#"integer=9007199254740993 kind="gauge" temporality="cumulative""#.to_owned()
            )
        );
    }

    #[test]
    fn a_distribution_has_its_sum_as_the_value() {
        assert_eq!(
            told(
                MetricKind::Histogram,
                r#"{"count":"2","sum":389,"min":190,"max":199.5,"bucketCounts":["0","2",0],"explicitBounds":[0,5.5]}"#
            ),
            (
                389.0,
                r#"bounds=[0.0,5.5] bucket_counts=[0,2,0] count=2 kind="histogram" max=199.5 min=190.0 temporality="cumulative""#
                    .to_owned()
            )
        );
        assert_eq!(
            told(
                MetricKind::ExponentialHistogram,
                r#"{"count":3,"sum":1.5,"scale":-1,"zeroCount":"1","zeroThreshold":0.1,
                    "positive":{"offset":-2,"bucketCounts":["1","1"]},"negative":{}}"#
            ),
            (
                1.5,
                r#"count=3 kind="exponential_histogram" positive={"offset":-2,"bucket_counts":[1,1]} scale=-1 temporality="cumulative" zero_count=1 zero_threshold=0.1"#
                    .to_owned()
            )
        );
        assert_eq!(
            told(MetricKind::Summary, r#"{"count":3,"sum":1.5,"quantileValues":[{"quantile":0.5,"value":2},{"value":1}]}"#),
            (
                1.5,
                r#"count=3 kind="summary" quantiles=[{"quantile":0.5,"value":2.0},{"quantile":0.0,"value":1.0}] temporality="cumulative""#
                    .to_owned()
            )
        );
        assert_eq!(
            told(MetricKind::Histogram, r#"{"count":"4"}"#),
            (4.0, r#"count=4 kind="histogram" temporality="cumulative" value="count""#.to_owned())
        );
    }

    #[test]
    fn a_point_without_a_value_is_none_and_one_that_is_not_finite_is_refused() {
        for json in [r#"{"flags":1,"asInt":"7"}"#, r#"{"flags":"3","asDouble":1}"#, "{}", r#"{"asInt":null}"#]
        {
            assert!(point(MetricKind::Gauge, json).unwrap().is_none(), "{json}");
        }
        assert!(point(MetricKind::Histogram, r#"{"flags":1,"count":1}"#).unwrap().is_none());
        for (json, why) in [
            (r#"{"asDouble":"NaN"}"#, "the value is NaN"),
            (r#"{"asDouble":"Infinity"}"#, "the value is inf"),
            ("7", "the data point is not an object"),
        ] {
            let error = point(MetricKind::Gauge, json).unwrap_err();
            assert!(error.starts_with(why), "{json}: {error}");
        }
    }

    #[test]
    fn a_point_with_a_number_that_cannot_be_read_is_refused() {
        for (kind, json, field) in [
            (MetricKind::Gauge, r#"{"asInt":"x"}"#, "asInt"),
            (MetricKind::Gauge, r#"{"asInt":1.5}"#, "asInt"),
            (MetricKind::Gauge, r#"{"asInt":"1.5"}"#, "asInt"),
            (MetricKind::Gauge, r#"{"asInt":"99999999999999999999"}"#, "asInt"),
            (MetricKind::Gauge, r#"{"asInt":9223372036854775808}"#, "asInt"),
            (MetricKind::Sum, r#"{"asDouble":"abc"}"#, "asDouble"),
            (MetricKind::Sum, r#"{"asDouble":true}"#, "asDouble"),
            (MetricKind::Sum, r#"{"asDouble":1,"timeUnixNano":"now"}"#, "timeUnixNano"),
            (MetricKind::Sum, r#"{"asDouble":1,"flags":"x"}"#, "flags"),
            (MetricKind::Histogram, r#"{"count":"-3"}"#, "count"),
            (MetricKind::Histogram, r#"{"count":3,"sum":"x"}"#, "sum"),
            (MetricKind::Histogram, r#"{"count":3,"min":[]}"#, "min"),
            (MetricKind::Histogram, r#"{"count":3,"bucketCounts":"x"}"#, "bucketCounts"),
            (MetricKind::Histogram, r#"{"count":3,"bucket_counts":[-1]}"#, "bucketCounts"),
            (MetricKind::Histogram, r#"{"count":3,"explicitBounds":["x"]}"#, "explicitBounds"),
            (MetricKind::ExponentialHistogram, r#"{"count":3,"scale":0.5}"#, "scale"),
            (MetricKind::ExponentialHistogram, r#"{"count":3,"positive":[1]}"#, "positive"),
            (
                MetricKind::ExponentialHistogram,
                r#"{"count":3,"negative":{"bucketCounts":[0.5]}}"#,
                "bucketCounts",
            ),
            (MetricKind::Summary, r#"{"count":3,"quantileValues":[{"quantile":"x"}]}"#, "quantile"),
        ] {
            let error = point(kind, json).map(|_| ()).unwrap_err();
            assert!(error.starts_with(&format!("`{field}` is not ")), "{json}: {error}");
        }
    }

    #[test]
    fn numbers_are_numbers_or_texts_of_their_type() {
        for json in [r#"{"asInt":-7}"#, r#"{"asInt":"-7"}"#, r#"{"asInt":-7.0}"#, r#"{"asDouble":"-7"}"#] {
            assert!((told(MetricKind::Gauge, json).0 + 7.0).abs() < f64::EPSILON, "{json}");
        }
        for (json, integer) in [
            (r#"{"asInt":"-9223372036854775808"}"#, None),
            (r#"{"asInt":"9223372036854775807"}"#, Some("9223372036854775807")),
            (r#"{"asInt":9007199254740993}"#, Some("9007199254740993")),
        ] {
            let recorded = point(MetricKind::Gauge, json).unwrap().unwrap().recorded;
            assert_eq!(recorded.attributes.get("otel.metric.integer").map(Json::as_str), integer, "{json}");
        }
    }

    #[test]
    fn nothing_of_resource_scope_and_attributes_is_lost() {
        let head = MetricHead {
            description: "d",
            metadata: Some(r#"{"attributes":[{"key":"m","value":{"boolValue":true}}]}"#),
            ..head(MetricKind::Sum)
        };
        let origin = MetricOrigin {
            resource: Some(
                r#"{"attributes":[{"key":"service.name","value":{"stringValue":"desk"}}],"droppedAttributesCount":2}"#,
            ),
            resource_schema_url: Some("r"),
            scope: Some(r#"{"name":"lib","version":"","attributes":[{"value":{}}]}"#),
            scope_schema_url: None,
        };
        let recorded = Metric::new(&head, origin)
            .point(r#"{"asInt":1,"attributes":[{"key":"a","value":{"stringValue":"1"}},{"key":"a","value":{"intValue":"2"}},7]}"#)
            .unwrap()
            .unwrap()
            .recorded;
        let attributes: Vec<(&str, &str)> =
            recorded.attributes.iter().map(|(name, json)| (name.as_str(), json.as_str())).collect();
        assert_eq!(recorded.labels.len(), 1);
        assert_eq!(
            attributes,
            [
                ("otel.metric.attributes", r#"{"a":2}"#),
                ("otel.metric.description", "\"d\""),
                ("otel.metric.kind", "\"sum\""),
                ("otel.metric.malformed_attributes", "[7]"),
                ("otel.metric.metadata", r#"{"m":true}"#),
                ("otel.metric.monotonic", "true"),
                ("otel.metric.temporality", "\"cumulative\""),
                ("otel.resource.attributes", r#"{"service.name":"desk"}"#),
                ("otel.resource.droppedAttributesCount", "2"),
                ("otel.resource.schema_url", "\"r\""),
                ("otel.scope.malformed_attributes", r#"[{"value":{}}]"#),
                ("otel.scope.name", "\"lib\""),
            ]
        );
    }
}
