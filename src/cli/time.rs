//! Times and durations as people type and read them.

use crate::Timestamp;
use chrono::{NaiveDate, NaiveDateTime, NaiveTime, Timelike as _};

/// Reads a time: RFC 3339, a date or a date and time in UTC, the time since then (`90s`, `30m`, `24h`, `7d`, `2w`), or
/// a word: `today`, `yesterday`, `now`.
pub(crate) fn parse(text: &str) -> Result<Timestamp, String> {
    parse_at(text, Timestamp::now())
}

/// Reads a future time: as [`parse`] does, except that `90d` is in 90 days.
pub(crate) fn parse_to_come(text: &str) -> Result<Timestamp, String> {
    to_come(text, Timestamp::now())
}

fn to_come(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let text = text.trim();
    let time = match micros_of(text) {
        Some(micros) => micros
            .and_then(|micros| now.micros().checked_add(micros))
            .map(Timestamp::from_micros)
            .filter(|time| time.in_range())
            .ok_or_else(|| format!("`{text}` is too far in the future"))?,
        None => parse_at(text, now).map_err(|error| error.replace("how long ago", "how long from now"))?,
    };
    if time > now { Ok(time) } else { Err(format!("`{text}` is in the past")) }
}

fn parse_at(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let text = text.trim();
    // Digits and a unit are never a date, so the forms cannot be confused.
    if let Some(ago) = micros_of(text) {
        let time = ago.and_then(|ago| now.micros().checked_sub(ago)).map(Timestamp::from_micros);
        return time.filter(|time| time.in_range()).ok_or_else(|| format!("`{text}` is too long ago"));
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let days_ago = match text {
        "now" => return Ok(now),
        "today" => Some(0),
        "yesterday" => Some(1),
        _ => None,
    };
    if let Some(days) = days_ago {
        const DAY: i64 = 86_400_000_000;
        // Days are UTC, as everywhere.
        let day = now.micros().div_euclid(DAY).saturating_sub(days).saturating_mul(DAY);
        return Ok(Timestamp::from_micros(day));
    }
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").map(|day| day.and_time(NaiveTime::MIN));
    let time = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M"]
        .iter()
        .filter_map(|form| NaiveDateTime::parse_from_str(text, form).ok())
        .chain(day)
        .next();
    // chrono reads a second 60 as a longer second 59, which would become another time here.
    time.filter(|time| time.nanosecond() < 1_000_000_000)
        .map(|time| Timestamp::from_micros(time.and_utc().timestamp_micros()))
        .filter(|time| time.in_range())
        .ok_or_else(|| {
            format!(
                "`{text}` is not a time; give a date (2026-11-20), a time (2026-11-20T12:00:00Z), how long ago (24h, 7d, 2w), or today, yesterday, now"
            )
        })
}

/// The duration of a text like `7d`, in microseconds; Some(None) if it is too large to be counted.
fn micros_of(text: &str) -> Option<Option<i64>> {
    let unit = text.chars().last()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        'w' => 604_800,
        _ => return None,
    };
    let number = text.strip_suffix(unit)?;
    // Digits alone: a sign would turn a past time into a future one.
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let ago = number.parse::<i64>().ok().and_then(|number| number.checked_mul(seconds * 1_000_000));
    Some(ago)
}

/// The time since the first event, to the millisecond: `+0.125s`.
pub(crate) fn since(micros: i64) -> String {
    let sign = if micros < 0 { '-' } else { '+' };
    // A later event may have an earlier time than the first one.
    let millis = micros.unsigned_abs() / 1_000;
    format!("{sign}{}.{:03}s", millis / 1_000, millis % 1_000)
}

/// A time in UTC, to the second.
pub(crate) fn shown(time: Timestamp) -> String {
    let text = time.to_sql();
    match text.split_once('.') {
        Some((seconds, _)) => seconds.to_owned(),
        None => text,
    }
}

/// A duration in the one or two units that matter.
pub(crate) fn duration(micros: i64) -> String {
    let sign = if micros < 0 { "-" } else { "" };
    let micros = micros.unsigned_abs();
    let (ms, s) = (micros / 1_000, micros / 1_000_000);
    let shown = match micros {
        0..=999 => format!("{micros} µs"),
        1_000..=9_999 => format!("{}.{} ms", ms, micros / 100 % 10),
        10_000..=999_999 => format!("{ms} ms"),
        1_000_000..=59_999_999 => format!("{}.{} s", s, micros / 100_000 % 10),
        60_000_000..=3_599_999_999 => format!("{} min {} s", s / 60, s % 60),
        3_600_000_000..=86_399_999_999 => format!("{} h {} min", s / 3_600, s / 60 % 60),
        _ => format!("{} d {} h", s / 86_400, s / 3_600 % 24),
    };
    format!("{sign}{shown}")
}

/// A size in bytes, as file managers show it.
pub(crate) fn size(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Result<String, String> {
        let now = "2026-11-20T12:00:00Z".parse().unwrap();
        parse_at(text, now).map(Timestamp::to_sql)
    }

    #[test]
    fn reads_dates_and_times() {
        assert_eq!(at("2026-11-20").unwrap(), "2026-11-20 00:00:00.000000");
        assert_eq!(at("2026-11-20 08:30").unwrap(), "2026-11-20 08:30:00.000000");
        assert_eq!(at("2026-11-20T08:30:01.5").unwrap(), "2026-11-20 08:30:01.500000");
        assert_eq!(at("2026-11-20T08:30:01+02:00").unwrap(), "2026-11-20 06:30:01.000000");
    }

    #[test]
    fn reads_how_long_ago() {
        assert_eq!(at("90s").unwrap(), "2026-11-20 11:58:30.000000");
        assert_eq!(at("24h").unwrap(), "2026-11-19 12:00:00.000000");
        assert_eq!(at("2w").unwrap(), "2026-11-06 12:00:00.000000");
        assert_eq!(at("0d").unwrap(), "2026-11-20 12:00:00.000000");
        assert_eq!(at("now").unwrap(), "2026-11-20 12:00:00.000000");
        assert_eq!(at("today").unwrap(), "2026-11-20 00:00:00.000000");
        assert_eq!(at("yesterday").unwrap(), "2026-11-19 00:00:00.000000");
    }

    #[test]
    fn reads_times_to_come() {
        let now: Timestamp = "2026-11-20T12:00:00Z".parse().unwrap();
        let shown = |text| to_come(text, now).map(Timestamp::to_sql);
        assert_eq!(shown("90d").unwrap(), "2027-02-18 12:00:00.000000");
        assert_eq!(shown("2027-01-31").unwrap(), "2027-01-31 00:00:00.000000");
        for text in ["0s", "2026-11-20", "2026-11-20T12:00:00Z", "9999999d", "soon", ""] {
            assert!(to_come(text, now).is_err(), "{text:?}");
        }
    }

    #[test]
    fn says_what_it_cannot_read() {
        for text in [
            "",
            "d",
            "-7d",
            "7 d",
            "tomorrow",
            // A leap second, which chrono accepts.
            "2026-12-31 23:59:60",
            "2026-13-01",
            "99999999999999999999d",
            "999999999w",
            "é",
        ] {
            assert!(at(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn durations_show_what_matters() {
        let shown: Vec<_> = [0, 850, 1_250, 12_000, 3_240_000, 65_000_000, 3_660_000_000, 90_000_000_000, -5]
            .into_iter()
            .map(duration)
            .collect();
        assert_eq!(
            shown,
            ["0 µs", "850 µs", "1.2 ms", "12 ms", "3.2 s", "1 min 5 s", "1 h 1 min", "1 d 1 h", "-5 µs"]
        );
        assert!(!duration(i64::MIN).is_empty());
    }
}
