//! Times in the forms that programs write, as RFC 3339 with microseconds.

use crate::event::Timestamp;

/// The form of a time in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
pub(super) enum Unit {
    /// RFC 3339, with an offset.
    #[serde(rename = "rfc3339")]
    Rfc3339,
    /// A date and time without an offset, which is UTC.
    #[serde(rename = "utc")]
    Utc,
    /// Seconds since 1970.
    #[serde(rename = "s")]
    Seconds,
    /// Milliseconds since 1970.
    #[serde(rename = "ms")]
    Millis,
    /// Microseconds since 1970.
    #[serde(rename = "us")]
    Micros,
    /// Nanoseconds since 1970.
    #[serde(rename = "ns")]
    Nanos,
}

/// A time, and whether it is all that the value said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) time: Timestamp,
    /// False if digits finer than a microsecond were dropped.
    pub(super) is_exact: bool,
}

impl Unit {
    /// True if times in this unit are numbers.
    pub(super) fn is_number(self) -> bool {
        self.digits().is_some()
    }

    /// Ten to the power of this many units are a second.
    fn digits(self) -> Option<i32> {
        match self {
            Unit::Rfc3339 | Unit::Utc => None,
            Unit::Seconds => Some(0),
            Unit::Millis => Some(3),
            Unit::Micros => Some(6),
            Unit::Nanos => Some(9),
        }
    }

    /// Reads a time from the text of a JSON number, or the content of a JSON text. The error is a reason.
    pub(super) fn read(self, text: &str) -> Result<Read, String> {
        let time = match (self, self.digits()) {
            (_, Some(digits)) => return read_number(text, digits),
            // An offset that the text has all the same counts.
            (Unit::Utc, _) => text.parse::<Timestamp>().or_else(|error| match format!("{text}Z").parse() {
                Ok(time) => Ok(time),
                Err::<Timestamp, _>(_) => Err(error),
            }),
            _ => text.parse::<Timestamp>(),
        };
        let time = time.map_err(|error| error.to_string())?;
        Ok(Read { time, is_exact: !has_finer_digits(text) })
    }
}

/// True if the fraction of a second has a digit other than 0 beyond the sixth.
fn has_finer_digits(text: &str) -> bool {
    let Some((_, fraction)) = text.split_once('.') else { return false };
    fraction.chars().take_while(char::is_ascii_digit).skip(6).any(|digit| digit != '0')
}

/// Reads a decimal number of units, exactly: a floating-point number would change the microseconds.
fn read_number(text: &str, digits: i32) -> Result<Read, String> {
    let wrong = || format!("`{text}` is not a number of seconds or parts of them since 1970");
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().map_err(|_| wrong())?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let (is_negative, whole) = match whole.strip_prefix('-') {
        Some(whole) => (true, whole),
        None => (false, whole),
    };
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) {
        return Err(wrong());
    }
    // The point moves by the exponent, and from the unit to microseconds.
    let places = i32::try_from(whole.len())
        .ok()
        .and_then(|length| length.checked_add(exponent)?.checked_add(6_i32.checked_sub(digits)?))
        .ok_or_else(wrong)?;
    let all: String = [whole, fraction].concat();
    let significant = all.trim_start_matches('0');
    if significant.is_empty() {
        return Ok(Read { time: Timestamp::from_micros(0), is_exact: true });
    }
    // Zeros in front are no digits of the number, but count for the place of the point.
    let zeros = i32::try_from(all.len().saturating_sub(significant.len())).map_err(|_| wrong())?;
    let places = places.checked_sub(zeros).ok_or_else(wrong)?;
    let kept = usize::try_from(places).unwrap_or(0);
    let range = || format!("`{text}` is not between the years 1 and 9999");
    // Microseconds of the year 9999 have 18 digits.
    if kept > 18 {
        return Err(range());
    }
    let mut micros: i64 = 0;
    for digit in significant.bytes().chain(std::iter::repeat(b'0')).take(kept) {
        let digit = i64::from(digit.saturating_sub(b'0'));
        micros = micros.checked_mul(10).and_then(|micros| micros.checked_add(digit)).ok_or_else(range)?;
    }
    let is_exact = significant.bytes().skip(kept).all(|digit| digit == b'0');
    let time = Timestamp::from_micros(if is_negative { micros.saturating_neg() } else { micros });
    if time.in_range() { Ok(Read { time, is_exact }) } else { Err(range()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(unit: Unit, text: &str) -> (String, bool) {
        let read = unit.read(text).unwrap();
        (read.time.to_string(), read.is_exact)
    }

    #[test]
    fn numbers_are_read_exactly_in_each_unit() {
        let time = |fraction: &str| format!("2026-11-20T12:00:00.{fraction}Z");
        for (unit, text, fraction, is_exact) in [
            (Unit::Seconds, "1795176000", "000000", true),
            (Unit::Seconds, "1795176000.123456", "123456", true),
            (Unit::Seconds, "1795176000.1234569", "123456", false),
            (Unit::Seconds, "1.795176e9", "000000", true),
            (Unit::Millis, "1795176000250", "250000", true),
            (Unit::Millis, "001795176000250.5", "250500", true),
            (Unit::Micros, "1795176000000001", "000001", true),
            (Unit::Nanos, "1795176000000001999", "000001", false),
            (Unit::Nanos, "1795176000000001000", "000001", true),
        ] {
            assert_eq!(read(unit, text), (time(fraction), is_exact), "{text}");
        }
        assert_eq!(read(Unit::Seconds, "0e2000000000"), ("1970-01-01T00:00:00.000000Z".to_owned(), true));
        assert_eq!(read(Unit::Seconds, "-1.5"), ("1969-12-31T23:59:58.500000Z".to_owned(), true));
        assert!(!read(Unit::Seconds, "0.0000004").1);
    }

    #[test]
    fn a_text_without_an_offset_is_utc_only_if_the_map_says_so() {
        let noon = ("2026-11-20T12:00:00.500000Z".to_owned(), true);
        for text in ["2026-11-20 12:00:00.5", "2026-11-20T12:00:00.500", "2026-11-20T12:00:00.5Z"] {
            assert_eq!(read(Unit::Utc, text), noon, "{text}");
        }
        assert_eq!(read(Unit::Rfc3339, "2026-11-20T13:00:00.5+01:00"), noon);
        assert!(Unit::Rfc3339.read("2026-11-20T12:00:00").is_err());
        assert!(!read(Unit::Rfc3339, "2026-11-20T12:00:00.0000001Z").1);
    }

    #[test]
    fn values_that_are_no_times_are_refused() {
        for text in
            ["", "x", "-", "1e", "1e99999999999", "1.2.3", "+5", "0x10", "NaN", "1e2147483647", "2026-11-20"]
        {
            assert!(Unit::Millis.read(text).is_err(), "{text}");
        }
        for text in ["253402300800", "99999999999999999999999", "1e30", "-62135596801"] {
            let error = Unit::Seconds.read(text).unwrap_err();
            assert!(error.contains("between the years 1 and 9999"), "{error}");
        }
    }
}
