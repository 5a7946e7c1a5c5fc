//! An option of a decision, as an object of JSON or a text.

use bincode::{Decode, Encode};
use serde::de::{self, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::form::{Form, Formed};
use super::json_text::{Attributes, Json};
use crate::canonical::{Input, WellFormed};

/// One of the options of a decision.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
pub struct ConsideredOption {
    /// The option itself, or its name.
    pub option: String,
    /// Rating of the option, on the producer's own scale.
    pub score: Option<f64>,
    /// Other fields of the option, by name.
    pub attributes: Attributes,
}

impl WellFormed for ConsideredOption {
    fn pass(input: &mut Input<'_>) -> Option<()> {
        String::pass(input)?;
        Option::<f64>::pass(input)?;
        Attributes::pass(input)
    }
}

impl ConsideredOption {
    /// An option and its score.
    pub fn scored(option: impl Into<String>, score: f64) -> ConsideredOption {
        ConsideredOption { option: option.into(), score: Some(score), attributes: Attributes::new() }
    }
}

impl Formed for Vec<ConsideredOption> {
    const FORM: Form = Form::List;
}

impl From<&str> for ConsideredOption {
    fn from(option: &str) -> ConsideredOption {
        ConsideredOption { option: option.to_owned(), ..ConsideredOption::default() }
    }
}

impl From<String> for ConsideredOption {
    fn from(option: String) -> ConsideredOption {
        ConsideredOption { option, ..ConsideredOption::default() }
    }
}

/// An option and its score.
impl<T: Into<String>> From<(T, f64)> for ConsideredOption {
    fn from((option, score): (T, f64)) -> ConsideredOption {
        ConsideredOption::scored(option, score)
    }
}

/// Writes `{"option": …, "score": …, other fields}`.
impl Serialize for ConsideredOption {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("option", &self.option)?;
        if let Some(score) = &self.score {
            map.serialize_entry("score", score)?;
        }
        for (name, value) in &self.attributes {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// Reads the object that [`ConsideredOption`] is written as, or a text, which is an option without a score.
impl<'de> Deserialize<'de> for ConsideredOption {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ConsideredOption, D::Error> {
        struct OptionVisitor;

        impl<'de> Visitor<'de> for OptionVisitor {
            type Value = ConsideredOption;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an option: a text, or an object with `option`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ConsideredOption, E> {
                Ok(text.into())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ConsideredOption, A::Error> {
                // `Some` means that a field was seen, even with the value `null`. serde refuses repeated
                // fields only for derived structs, so this visitor itself refuses them.
                let (mut option, mut score, mut attributes) = (None, None, Attributes::new());
                while let Some(name) = map.next_key::<String>()? {
                    let again = match name.as_str() {
                        "option" => option.replace(map.next_value::<String>()?).is_some(),
                        "score" => score.replace(map.next_value::<Option<f64>>()?).is_some(),
                        _ => attributes.insert(name.clone(), map.next_value::<Json>()?).is_some(),
                    };
                    if again {
                        return Err(de::Error::custom(format_args!("duplicate field `{name}`")));
                    }
                }
                let option = option.ok_or_else(|| de::Error::missing_field("option"))?;
                Ok(ConsideredOption { option, score: score.flatten(), attributes })
            }
        }

        deserializer.deserialize_any(OptionVisitor)
    }
}
