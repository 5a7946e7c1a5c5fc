//! A metric in OTLP's JSON: its data points, each as one item.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::points::NO_DATA;
use super::reading::{Origin, Reading, Unreadable};
use super::wire::Malformed;
use crate::otel::{Metric, MetricHead, MetricKind, read_text};

/// A metric. Raw values, so that a field of a wrong type does not reject its points.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InJson<'a> {
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    description: Option<&'a RawValue>,
    #[serde(borrow)]
    unit: Option<&'a RawValue>,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
    #[serde(borrow)]
    gauge: Option<Data<'a>>,
    #[serde(borrow)]
    sum: Option<Data<'a>>,
    #[serde(borrow)]
    histogram: Option<Data<'a>>,
    #[serde(borrow, alias = "exponential_histogram")]
    exponential_histogram: Option<Data<'a>>,
    #[serde(borrow)]
    summary: Option<Data<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data<'a> {
    #[serde(borrow, alias = "data_points")]
    data_points: Option<Vec<&'a RawValue>>,
    #[serde(borrow, alias = "aggregation_temporality")]
    aggregation_temporality: Option<&'a RawValue>,
    #[serde(borrow, alias = "is_monotonic")]
    is_monotonic: Option<&'a RawValue>,
}

fn text(value: Option<&RawValue>) -> String {
    value.and_then(|value| read_text(value.get())).unwrap_or_default()
}

/// An enum: a number, or a name or a number as a text.
fn word(value: Option<&RawValue>) -> &str {
    value.map(|value| value.get().trim_matches('"')).filter(|word| *word != "null").unwrap_or("")
}

impl<'a> InJson<'a> {
    fn data(&mut self) -> Option<(MetricKind, Data<'a>)> {
        [
            (MetricKind::Gauge, self.gauge.take()),
            (MetricKind::Sum, self.sum.take()),
            (MetricKind::Histogram, self.histogram.take()),
            (MetricKind::ExponentialHistogram, self.exponential_histogram.take()),
            (MetricKind::Summary, self.summary.take()),
        ]
        .into_iter()
        .find_map(|(kind, data)| Some((kind, data?)))
    }
}

/// Reads a metric.
pub(super) fn metric(item: &RawValue, origin: &Origin, reading: &mut Reading<'_>) -> Result<(), Unreadable> {
    let mut read: InJson<'_> = match serde_json::from_str(item.get()) {
        Ok(read) => read,
        Err(error) => return reading.reject("", format_args!("it is not a metric: {error}")),
    };
    let name = text(read.name);
    let Some((kind, data)) = read.data() else { return reading.reject(&name, NO_DATA) };
    let mut shared = None;
    for point in data.data_points.into_iter().flatten() {
        // Checked before the point is read.
        if point.get().len() > reading.bounds.item_bytes {
            reading.reject(&name, Malformed::Size)?;
            continue;
        }
        // Made for the first point, so that a metric without points costs nothing.
        let shared = shared.get_or_insert_with(|| {
            let metadata = read.metadata.map(|metadata| format!("{{\"attributes\":{}}}", metadata.get()));
            let head = MetricHead {
                name: &name,
                description: &text(read.description),
                unit: &text(read.unit),
                kind,
                temporality: word(data.aggregation_temporality),
                is_monotonic: word(data.is_monotonic) == "true",
                metadata: metadata.as_deref(),
            };
            Metric::new(&head, origin.of_metric())
        });
        reading.point(shared, point.get())?;
    }
    Ok(())
}

/// The name of a metric.
pub(super) fn name(item: &RawValue) -> String {
    serde_json::from_str(item.get()).map(|metric: InJson<'_>| text(metric.name)).unwrap_or_default()
}
