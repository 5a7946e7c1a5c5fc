//! The checks of a map: everything that can be wrong with it is found before a record is read.

use std::collections::BTreeMap;

use super::error::MapError;
use super::path::{Path, Root};
use super::plan::{Condition, EventPlan, Found, Number, Rest, Target, Turn, Value};
use super::spec::{ConditionSpec, EventSpec, OneOrMore, ReadAs, TableSpec, ValueSpec, json_of};
use super::time::Unit;
use crate::event::{FieldForm, Form, Kind, field_forms};

/// Fields that every event has beside those of its kind.
const ENVELOPE: [FieldForm; 3] = [
    FieldForm { name: "id", form: Form::Word, is_required: false },
    FieldForm { name: "session", form: Form::Word, is_required: false },
    FieldForm { name: "at", form: Form::Word, is_required: false },
];

/// A reason why a part of a map cannot be used.
type Reason = String;

/// An event of a map that is being checked.
struct Event<'m> {
    /// Number and type, for messages.
    label: String,
    has_items: bool,
    /// Unit of times whose field gives none.
    time: Option<Unit>,
    queries: &'m [String],
}

/// Checks an event. `number` is its position in the map, from 1.
pub(super) fn event(
    number: usize,
    spec: EventSpec,
    time: Option<Unit>,
    queries: &[String],
) -> Result<EventPlan, MapError> {
    let label = format!("{number} (`{}`)", spec.name.as_ref().unwrap_or(&spec.kind));
    let event = Event { label, has_items: spec.each.is_some(), time, queries };
    let wrong = |reason: Reason| MapError::Event { event: event.label.clone(), reason };
    let kind = kind(&spec.kind).map_err(wrong)?;
    let name = spec.name.unwrap_or_else(|| spec.kind.clone());
    // Ids are made of names with slashes between them.
    if name.is_empty() || name.contains('/') || name.chars().any(char::is_control) {
        return Err(wrong(format!(
            "`{name}` cannot name an event: it is empty, or has a `/` or control character"
        )));
    }
    let each =
        spec.each.map(|paths| paths.0.iter().map(|path| event.each(path)).collect::<Result<Vec<_>, _>>());
    let each = each.transpose().map_err(wrong)?;
    let conditions = |specs: Option<OneOrMore<ConditionSpec>>| {
        let specs = specs.map_or_else(Vec::new, |specs| specs.0);
        specs.into_iter().map(|spec| event.condition(spec)).collect::<Result<Vec<_>, _>>()
    };
    let (when, unless) = (conditions(spec.when).map_err(wrong)?, conditions(spec.unless).map_err(wrong)?);
    if unless.iter().any(|condition| matches!(condition, Condition::First { .. })) {
        return Err(wrong("`first` belongs to `when`".to_owned()));
    }
    let query = event.query(spec.query.as_deref()).map_err(wrong)?;
    let fields = event.fields(kind, spec.fields)?;
    let turn = if spec.otherwise { Turn::Otherwise } else { Turn::Always };
    let rest = if spec.rest { Rest::Wanted } else { Rest::IfFirst };
    Ok(EventPlan { name, kind, query, each, when, unless, turn, rest, fields })
}

fn kind(name: &str) -> Result<Kind, Reason> {
    let known = || {
        let names: Vec<_> =
            Kind::ALL.iter().filter(|kind| !kind.is_reserved()).map(|kind| kind.name()).collect();
        names.join(", ")
    };
    match name.parse::<Kind>() {
        Ok(kind) if kind.is_reserved() => Err(format!("only Annals itself writes `{name}` events")),
        Ok(kind) => Ok(kind),
        Err(_) => Err(format!("`{name}` is not a type of event; the types are {}", known())),
    }
}

impl Event<'_> {
    fn each(&self, text: &str) -> Result<Path, Reason> {
        let path = Path::parse(text).map_err(|reason| format!("`each`: {reason}"))?;
        match path.root() {
            Root::Record => Ok(path),
            Root::Item => Err("`each`: the path begins at the record, with `$`".to_owned()),
        }
    }

    fn path(&self, text: &str) -> Result<Path, Reason> {
        let path = Path::parse(text)?;
        if path.root() == Root::Item && !self.has_items {
            return Err(format!("`{text}` begins at an item, and the event has no `each`"));
        }
        Ok(path)
    }

    fn query(&self, name: Option<&str>) -> Result<Option<usize>, Reason> {
        match name {
            None if self.queries.is_empty() => Ok(None),
            None => {
                Err("`query` is missing: the name of the [[query]] whose rows it is made from".to_owned())
            }
            Some(name) => match self.queries.iter().position(|query| query == name) {
                Some(position) => Ok(Some(position)),
                None => Err(format!("there is no [[query]] with the name `{name}`")),
            },
        }
    }

    fn condition(&self, spec: ConditionSpec) -> Result<Condition, Reason> {
        let values = |values: &[toml::Value]| values.iter().map(json_of).collect::<Result<Vec<_>, _>>();
        let needs_path = || "a condition needs a `path`".to_owned();
        let path = spec.path.map(|path| self.path(&path)).transpose()?;
        match (spec.equals, spec.among, spec.exists, spec.first) {
            (Some(value), None, None, None) => {
                Ok(Condition::Among { path: path.ok_or_else(needs_path)?, values: values(&[value])? })
            }
            (None, Some(among), None, None) => {
                Ok(Condition::Among { path: path.ok_or_else(needs_path)?, values: values(&among)? })
            }
            (None, None, Some(expected), None) => {
                Ok(Condition::Exists { path: path.ok_or_else(needs_path)?, expected })
            }
            (None, None, None, Some(first)) if path.is_none() => {
                Ok(Condition::First { path: self.path(&first)? })
            }
            _ => Err("a condition has a `path` with one of `equals`, `among` and `exists`, or `first` alone"
                .to_owned()),
        }
    }

    fn fields(
        &self,
        kind: Kind,
        specs: BTreeMap<String, ValueSpec>,
    ) -> Result<Vec<(String, Value)>, MapError> {
        let forms: Vec<&FieldForm> = ENVELOPE.iter().chain(field_forms(kind)).collect();
        let wrong = |field: &str, reason: Reason| MapError::EventField {
            event: self.label.clone(),
            field: field.to_owned(),
            reason,
        };
        let is_session_missing = kind.needs_session() && !specs.contains_key("session");
        let missing = forms.iter().find(|form| form.is_required && !specs.contains_key(form.name));
        if let Some(name) = missing.map(|form| form.name).or(is_session_missing.then_some("session")) {
            return Err(wrong(name, format!("is missing; {} needs it", kind.name())));
        }
        let mut fields = Vec::new();
        for (name, spec) in specs {
            let Some(form) = forms.iter().find(|form| form.name == name) else {
                let names: Vec<_> = forms.iter().map(|form| form.name).collect();
                let reason = format!(
                    "{} has no such field; the fields are {}; anything else goes to `attributes`",
                    kind.name(),
                    names.join(", ")
                );
                return Err(wrong(&name, reason));
            };
            let target = match name.as_str() {
                "at" => Target::Time(self.time.unwrap_or(Unit::Rfc3339)),
                _ => Target::Form(form.form),
            };
            let value = self.value(target, spec).map_err(|reason| wrong(&name, reason))?;
            fields.push((name, value));
        }
        Ok(fields)
    }

    fn value(&self, target: Target, spec: ValueSpec) -> Result<Value, Reason> {
        let table = match spec {
            ValueSpec::Path(path) => {
                TableSpec { path: Some(OneOrMore(vec![OneOrMore(vec![path])])), ..TableSpec::default() }
            }
            ValueSpec::Table(table) => *table,
        };
        match (&table.path, &table.value, table.members.is_some()) {
            (None, Some(value), false) => {
                table.only_constant()?;
                json_of(value).map(Value::Constant)
            }
            (None, None, true) => {
                table.only_constant().map_err(|_| "`members` have nothing beside them".to_owned())?;
                self.members(target, table.members.unwrap_or_default()).map(Value::Members)
            }
            (Some(_), None, false) => self.found(target, table).map(|found| Value::Found(Box::new(found))),
            _ => Err("needs one of `path`, `value` and `members`".to_owned()),
        }
    }

    fn members(
        &self,
        target: Target,
        specs: BTreeMap<String, ValueSpec>,
    ) -> Result<Vec<(String, Value)>, Reason> {
        let form_of = |name: &str| match target {
            Target::Form(Form::Map(form)) => Ok(*form),
            Target::Form(Form::Json) => Ok(Form::Json),
            Target::Form(Form::Object(forms)) => match forms.iter().find(|form| form.name == name) {
                Some(form) => Ok(form.form),
                None => {
                    let names: Vec<_> = forms.iter().map(|form| form.name).collect();
                    Err(format!("has no member `{name}`; the members are {}", names.join(", ")))
                }
            },
            _ => Err("is not an object, and cannot have `members`".to_owned()),
        };
        if let Target::Form(Form::Object(forms)) = target
            && let Some(missing) =
                forms.iter().find(|form| form.is_required && !specs.contains_key(form.name))
        {
            return Err(format!("its member `{}` is missing", missing.name));
        }
        let mut members = Vec::new();
        for (name, spec) in specs {
            let form = form_of(&name)?;
            let value = self
                .value(Target::Form(form), spec)
                .map_err(|reason| format!("member `{name}`: {reason}"))?;
            members.push((name, value));
        }
        Ok(members)
    }

    fn found(&self, target: Target, spec: TableSpec) -> Result<Found, Reason> {
        let TableSpec { path, all, read_as, time, words, prefix, default, .. } = spec;
        let paths = path.map_or_else(Vec::new, |paths| paths.0);
        let paths =
            paths.iter().map(|sum| sum.0.iter().map(|path| self.path(path)).collect::<Result<_, _>>());
        let paths = paths.collect::<Result<Vec<Vec<Path>>, _>>()?;
        if paths.is_empty() || paths.iter().any(Vec::is_empty) {
            return Err("`path` is an empty list".to_owned());
        }
        let has_sum = paths.iter().any(|sum| sum.len() > 1);
        if has_sum && !matches!(target, Target::Form(Form::Number)) {
            return Err("is not a number, and cannot have a sum of paths".to_owned());
        }
        let target = match (target, time) {
            (Target::Time(_), Some(unit)) => Target::Time(unit),
            (Target::Form(_), Some(_)) => return Err("only `at` can have `time`".to_owned()),
            (target, None) => target,
        };
        let is_time = matches!(target, Target::Time(_));
        if is_time && (read_as.is_some() || words.is_some() || prefix.is_some()) {
            return Err("a time cannot have `as`, `words` or `prefix`".to_owned());
        }
        let is_text = matches!(target, Target::Form(Form::Text | Form::Word));
        if prefix.is_some() && !is_text {
            return Err("only a text can have a `prefix`".to_owned());
        }
        match (read_as, target) {
            (Some(ReadAs::Number), Target::Form(Form::Number | Form::Json)) | (None, _) => {}
            (Some(ReadAs::Json), Target::Form(_)) if !is_text => {}
            _ => return Err("cannot be read `as` that: it is a text itself".to_owned()),
        }
        // Each of these would have no effect, or none that is clear.
        for (is_given, reason) in [
            (
                words.is_some() && prefix.is_some(),
                "cannot have `words` and `prefix`: write the prefix into the words",
            ),
            (
                words.is_some() && read_as.is_some(),
                "cannot have `words` and `as`: a word is the value itself",
            ),
            (
                has_sum && (words.is_some() || read_as.is_some()),
                "cannot have `words` or `as`: a sum is made of whole numbers",
            ),
            (all && prefix.is_some(), "cannot have `all` and `prefix`: a list has no text to put it before"),
            (
                all && words.is_some() && default.is_some(),
                "cannot have `all`, `words` and `default`: add a word for each value instead",
            ),
        ] {
            if is_given {
                return Err(reason.to_owned());
            }
        }
        let may_be_list = matches!(target, Target::Form(Form::List | Form::Json | Form::Text));
        if all && !may_be_list {
            return Err("is one value, and `all` makes a list".to_owned());
        }
        Ok(Found {
            number: if all { Number::All } else { Number::One },
            target,
            read_as,
            words: words
                .map(|words| {
                    let words = words.iter().map(|(word, value)| Ok((word.clone(), json_of(value)?)));
                    words.collect::<Result<_, Reason>>()
                })
                .transpose()?,
            prefix,
            default: default.as_ref().map(json_of).transpose()?,
            paths,
        })
    }
}

impl TableSpec {
    /// Refuses what only a value of the record can have.
    fn only_constant(&self) -> Result<(), Reason> {
        let has_more = self.all
            || self.read_as.is_some()
            || self.time.is_some()
            || self.words.is_some()
            || self.prefix.is_some()
            || self.default.is_some();
        if has_more { Err("a constant `value` has nothing beside it".to_owned()) } else { Ok(()) }
    }
}
