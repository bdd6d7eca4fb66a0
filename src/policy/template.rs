//! Folder templates: `data/{source}/{coldkey}/` says whose each folder is.
//!
//! A template is a path of segments; a segment is literal text with at most one variable. `{hotkey}` and
//! `{coldkey}` are bound to the caller by the chain; every other name has a list of values or a pattern.
//! Invariants:
//! - a template binds at least one identity variable, so that no folder is everybody's;
//! - a variable never reaches over a `/`, so that a prefix is compared with its `/` (P23).

use std::collections::BTreeMap;

use regex_lite::Regex;

use crate::chain::{AccountId, Owner};

/// The variable of jobs, whose folders the vending server's clients name by it.
const JOB_VARIABLE: &str = "job_id";

/// What an open variable is called in an example.
const DEFAULT_VALUE: &str = "default";

/// What a variable that is not an identity may hold.
#[derive(Debug, Clone)]
pub enum Values {
    /// One of these.
    List(Vec<String>),
    /// Anything this expression matches as a whole.
    Pattern(Regex),
}

impl Values {
    /// Compiles a pattern so that it matches whole values only.
    pub fn pattern(expression: &str) -> Result<Self, String> {
        Regex::new(&format!(r"\A(?:{expression})\z")).map(Self::Pattern).map_err(|error| error.to_string())
    }

    /// The expression of a pattern as it was given; none for a list.
    pub fn expression(&self) -> Option<&str> {
        match self {
            Self::List(_) => None,
            Self::Pattern(pattern) => {
                pattern.as_str().strip_prefix(r"\A(?:").and_then(|rest| rest.strip_suffix(r")\z"))
            }
        }
    }

    /// A value for an example: the first of a list, or `default` where the pattern takes it.
    pub fn example(&self) -> Option<&str> {
        match self {
            Self::List(values) => values.first().map(String::as_str),
            Self::Pattern(_) => Some(DEFAULT_VALUE).filter(|value| self.allow(value)),
        }
    }

    fn allow(&self, value: &str) -> bool {
        match self {
            Self::List(values) => values.iter().any(|allowed| allowed == value),
            Self::Pattern(pattern) => !value.is_empty() && pattern.is_match(value),
        }
    }
}

#[derive(Debug, Clone)]
enum Variable {
    Hotkey,
    Coldkey,
    Named(String, Values),
}

#[derive(Debug, Clone)]
struct Segment {
    before: String,
    variable: Option<Variable>,
    after: String,
}

impl Segment {
    fn matches(&self, text: &str, owner: &Owner) -> bool {
        let Some(rest) = text.strip_prefix(self.before.as_str()) else { return false };
        let Some(variable) = &self.variable else { return rest.is_empty() };
        let Some(value) = rest.strip_suffix(self.after.as_str()) else { return false };
        match variable {
            Variable::Hotkey => value == owner.hotkey(),
            Variable::Coldkey => value == owner.coldkey(),
            Variable::Named(_, values) => values.allow(value),
        }
    }

    fn names_the_owner(&self) -> bool {
        matches!(self.variable, Some(Variable::Hotkey | Variable::Coldkey))
    }

    /// Every text the segment can be for `owner`; none where a pattern leaves it open.
    fn texts(&self, owner: &Owner) -> Option<Vec<String>> {
        let values: Vec<&str> = match &self.variable {
            None => vec![""],
            Some(Variable::Hotkey) => vec![owner.hotkey()],
            Some(Variable::Coldkey) => vec![owner.coldkey()],
            Some(Variable::Named(_, Values::List(values))) => values.iter().map(String::as_str).collect(),
            Some(Variable::Named(_, Values::Pattern(_))) => return None,
        };
        Some(values.iter().map(|value| [self.before.as_str(), value, &self.after].concat()).collect())
    }

    /// As [`Segment::texts`], with an open variable shown by its name.
    fn shown(&self, owner: &Owner) -> Vec<String> {
        self.texts(owner).unwrap_or_else(|| match &self.variable {
            Some(Variable::Named(name, _)) => vec![format!("{}{{{name}}}{}", self.before, self.after)],
            _ => Vec::new(),
        })
    }

    /// Whether some text could be both: a text that `other` has for one owner, and that `self` has for
    /// another.
    fn may_equal(&self, other: &Self) -> bool {
        let open = |segment: &Self| segment.variable.is_some();
        match (open(self), open(other)) {
            (false, false) => self.before == other.before,
            (true, false) => self.may_be(&other.before),
            (false, true) => other.may_be(&self.before),
            (true, true) => {
                let fixed = |segment: &Self| match &segment.variable {
                    Some(Variable::Named(_, Values::List(values))) => Some(
                        values
                            .iter()
                            .map(|value| format!("{}{value}{}", segment.before, segment.after))
                            .collect::<Vec<_>>(),
                    ),
                    _ => None,
                };
                if let Some(texts) = fixed(self) {
                    return texts.iter().any(|text| other.may_be(text));
                }
                if let Some(texts) = fixed(other) {
                    return texts.iter().any(|text| self.may_be(text));
                }
                // Both open (an address or a pattern): the literal parts decide, on the safe side.
                let nested = |a: &str, b: &str| a.starts_with(b) || b.starts_with(a);
                let nested_end = |a: &str, b: &str| a.ends_with(b) || b.ends_with(a);
                nested(&self.before, &other.before) && nested_end(&self.after, &other.after)
            }
        }
    }

    /// Whether the segment can be `text` for some owner.
    fn may_be(&self, text: &str) -> bool {
        let value =
            text.strip_prefix(self.before.as_str()).and_then(|rest| rest.strip_suffix(self.after.as_str()));
        match (&self.variable, value) {
            (None, _) => self.before == text,
            (Some(_), None) => false,
            (Some(Variable::Hotkey | Variable::Coldkey), Some(value)) => value.parse::<AccountId>().is_ok(),
            (Some(Variable::Named(_, values)), Some(value)) => values.allow(value),
        }
    }
}

/// One folder template.
#[derive(Debug, Clone)]
pub struct Template {
    text: String,
    segments: Vec<Segment>,
    /// How many segments it takes until every identity variable is bound: below them all is the owner's.
    owned_depth: usize,
}

/// What a segment of a found path says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bound {
    /// Nothing: it is literal.
    Literal,
    /// Whose hotkey.
    Hotkey(AccountId),
    /// Whose coldkey.
    Coldkey(AccountId),
    /// The value of a variable.
    Named(String),
}

/// Where a list prefix stands in relation to one owner's folders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Inside: everything that starts with the prefix is the owner's.
    Inside,
    /// The owner's folder without its last `/`.
    FolderItself,
    /// Above: these texts, each ending in `/`, lead on to the owner's folders.
    Above(Vec<String>),
    /// Elsewhere.
    Outside,
}

/// How many folders the lists of a template may make for one owner.
const FOLDERS_MAX: usize = 10_000;

impl Template {
    /// Parses a template; `variables` holds what each name beside `hotkey` and `coldkey` may be.
    pub fn parse(text: &str, variables: &BTreeMap<String, Values>) -> Result<Self, String> {
        let Some(path) = text.strip_suffix('/') else {
            return Err(format!("{text:?} must end with \"/\""));
        };
        let segments = path
            .split('/')
            .map(|segment| parse_segment(segment, variables).map_err(|what| format!("{text:?}: {what}")))
            .collect::<Result<Vec<_>, _>>()?;
        let Some(last) = segments.iter().rposition(Segment::names_the_owner) else {
            return Err(format!(
                "{text:?} must hold {{hotkey}} or {{coldkey}}, or its folders would be everybody's"
            ));
        };
        // An answer may name all of them.
        let folders = segments.iter().fold(1, |folders: usize, segment| match &segment.variable {
            Some(Variable::Named(_, Values::List(values))) => folders.saturating_mul(values.len()),
            Some(Variable::Named(_, Values::Pattern(_)) | Variable::Hotkey | Variable::Coldkey) | None => {
                folders
            }
        });
        if folders > FOLDERS_MAX {
            return Err(format!(
                "{text:?}: its lists make more than {FOLDERS_MAX} folders for each owner; shorten them, or \
                 put a pattern in the place of one"
            ));
        }
        Ok(Self { text: text.to_owned(), segments, owned_depth: last + 1 })
    }

    /// The template as configured.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether `key` lies in a folder of this template that is `owner`'s.
    pub fn owns(&self, owner: &Owner, key: &str) -> bool {
        let mut parts = key.split('/');
        for segment in &self.segments {
            match parts.next() {
                Some(part) if segment.matches(part, owner) => {}
                _ => return false,
            }
        }
        // The folder's own `/` must be there: `data/x/5Abc` is not in `data/x/5Abc/`.
        parts.next().is_some()
    }

    /// Whether `path`, which ends in `/`, is on the way to a folder of this template that is `owner`'s.
    pub fn leads_to_a_folder(&self, owner: &Owner, path: &str) -> bool {
        let Some(path) = path.strip_suffix('/') else { return false };
        let mut segments = self.segments.iter();
        let is_on_the_way =
            path.split('/').all(|part| segments.next().is_some_and(|segment| segment.matches(part, owner)));
        // The folder itself is not on the way to it.
        is_on_the_way && segments.next().is_some()
    }

    /// Where `prefix` stands.
    pub fn standing(&self, owner: &Owner, prefix: &str) -> Standing {
        let (above, partial) = match prefix.rsplit_once('/') {
            Some((above, partial)) => (above.split('/').collect(), partial),
            None => (Vec::new(), prefix),
        };
        let owned = self.segments.get(..self.owned_depth).unwrap_or(&self.segments);
        if !above.iter().zip(owned).all(|(part, segment)| segment.matches(part, owner)) {
            return Standing::Outside;
        }
        let Some(next) = owned.get(above.len()) else { return Standing::Inside };
        if partial.is_empty() {
            return match next.texts(owner) {
                Some(texts) => Standing::Above(texts.iter().map(|text| format!("{prefix}{text}/")).collect()),
                None => Standing::Outside,
            };
        }
        if above.len() + 1 == owned.len() && next.matches(partial, owner) {
            return Standing::FolderItself;
        }
        Standing::Outside
    }

    /// The first `count_max` of the owner's folders by this template; an open variable is shown by its name.
    pub fn folders(&self, owner: &Owner, count_max: usize) -> Vec<String> {
        self.segments.iter().fold(vec![String::new()], |folders, segment| {
            let texts = segment.shown(owner);
            folders
                .iter()
                .flat_map(|folder| texts.iter().map(move |text| [folder, text, "/"].concat()))
                .take(count_max)
                .collect()
        })
    }

    /// How many segments lead to the owner's folder.
    pub fn owned_depth(&self) -> usize {
        self.owned_depth
    }

    /// How many segments it takes until the first identity variable is bound: what is above is no miner's.
    pub fn identified_depth(&self) -> usize {
        self.segments.iter().position(Segment::names_the_owner).map_or(self.owned_depth, |first| first + 1)
    }

    /// The first variable above the identity that a pattern leaves open: whoever may write makes as many of
    /// these directories as it likes, and they are no miner's.
    pub fn open_variable_above(&self) -> Option<&str> {
        let above = self.segments.iter().take_while(|segment| !segment.names_the_owner());
        above.into_iter().find_map(|segment| match &segment.variable {
            Some(Variable::Named(name, Values::Pattern(_))) => Some(name.as_str()),
            Some(Variable::Named(_, Values::List(_)) | Variable::Hotkey | Variable::Coldkey) | None => None,
        })
    }

    /// The literal text that begins the segment at `depth`.
    pub fn literal_start(&self, depth: usize) -> &str {
        self.segments.get(depth).map_or("", |segment| segment.before.as_str())
    }

    /// The address of `owner` that names its folders, by the last identity variable.
    pub fn name_of<'a>(&self, owner: &'a Owner) -> &'a str {
        match self.segments.get(self.owned_depth.saturating_sub(1)).map(|segment| &segment.variable) {
            Some(Some(Variable::Hotkey)) => owner.hotkey(),
            Some(Some(Variable::Coldkey | Variable::Named(..)) | None) | None => owner.coldkey(),
        }
    }

    /// How many segments there are.
    pub fn depth(&self) -> usize {
        self.segments.len()
    }

    /// All texts of the segment at `depth` with what they say; none where only the store can tell.
    pub fn known(&self, depth: usize) -> Option<Vec<(String, Bound)>> {
        let segment = self.segments.get(depth)?;
        let text = |value: &str| format!("{}{value}{}", segment.before, segment.after);
        match &segment.variable {
            None => Some(vec![(text(""), Bound::Literal)]),
            Some(Variable::Named(_, Values::List(values))) => {
                Some(values.iter().map(|value| (text(value), Bound::Named(value.clone()))).collect())
            }
            Some(Variable::Hotkey | Variable::Coldkey | Variable::Named(_, Values::Pattern(_))) => None,
        }
    }

    /// What `text` says as the segment at `depth`; none where it cannot be that.
    pub fn read(&self, depth: usize, text: &str) -> Option<Bound> {
        let segment = self.segments.get(depth)?;
        let value = text.strip_prefix(segment.before.as_str())?.strip_suffix(segment.after.as_str())?;
        match &segment.variable {
            None => value.is_empty().then_some(Bound::Literal),
            Some(Variable::Hotkey) => value.parse().ok().map(Bound::Hotkey),
            Some(Variable::Coldkey) => value.parse().ok().map(Bound::Coldkey),
            Some(Variable::Named(_, values)) => values.allow(value).then(|| Bound::Named(value.to_owned())),
        }
    }

    /// The owner's folders up to the last identity in them; with a `source`, that of the variable of this
    /// name. None where a variable is left open.
    pub fn owned_folders(&self, owner: &Owner, source: Option<&str>) -> Vec<String> {
        let is_source = |segment: &Segment| match &segment.variable {
            Some(Variable::Named(name, _)) => name == "source",
            Some(Variable::Hotkey | Variable::Coldkey) | None => false,
        };
        let owned = self.segments.get(..self.owned_depth).unwrap_or(&self.segments);
        if source.is_some() && !owned.iter().any(is_source) {
            return Vec::new();
        }
        owned.iter().fold(vec![String::new()], |folders, segment| {
            let texts = match (&segment.variable, source) {
                (Some(Variable::Named(_, values)), Some(source)) if is_source(segment) => {
                    match values.allow(source) {
                        true => vec![format!("{}{source}{}", segment.before, segment.after)],
                        false => Vec::new(),
                    }
                }
                _ => segment.texts(owner).unwrap_or_default(),
            };
            folders
                .iter()
                .flat_map(|folder| texts.iter().map(move |text| format!("{folder}{text}/")))
                .collect()
        })
    }

    /// The variables beside the identities, in the order of the path.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &Values)> {
        self.segments.iter().filter_map(|segment| match &segment.variable {
            Some(Variable::Named(name, values)) => Some((name.as_str(), values)),
            Some(Variable::Hotkey | Variable::Coldkey) | None => None,
        })
    }

    /// Whether a hotkey names its folders.
    pub fn names_hotkeys(&self) -> bool {
        self.segments.iter().any(|segment| matches!(segment.variable, Some(Variable::Hotkey)))
    }

    /// Whether a coldkey names its folders.
    pub fn names_coldkeys(&self) -> bool {
        self.segments.iter().any(|segment| matches!(segment.variable, Some(Variable::Coldkey)))
    }

    /// What begins the folders of all hotkeys: the path down to the name of one, where no variable stands
    /// before it.
    pub fn before_hotkey(&self) -> Option<String> {
        let mut before = String::new();
        for segment in &self.segments {
            match &segment.variable {
                None => before.push_str(&format!("{}/", segment.before)),
                Some(Variable::Hotkey) => return Some(before + &segment.before),
                Some(Variable::Coldkey | Variable::Named(..)) => return None,
            }
        }
        None
    }

    /// `owner`'s folder of a job, where the layout has `{hotkey}` and `{job_id}` and no other variable.
    pub fn job_folder(&self, owner: &Owner, job_id: &str) -> Option<String> {
        let mut folder = String::new();
        let mut has_job = false;
        for segment in &self.segments {
            let value = match &segment.variable {
                None => "",
                Some(Variable::Hotkey) => owner.hotkey(),
                Some(Variable::Named(name, values)) if name == JOB_VARIABLE && values.allow(job_id) => {
                    has_job = true;
                    job_id
                }
                Some(Variable::Coldkey | Variable::Named(..)) => return None,
            };
            folder.push_str(&format!("{}{value}{}/", segment.before, segment.after));
        }
        has_job.then_some(folder)
    }

    /// A folder of this template in `owned`, one of [`Template::owned_folders`]: each variable that is open
    /// has its first value, or is called `default`. The folder itself where that is no value.
    pub fn example_below(&self, owned: &str) -> String {
        let mut folder = owned.to_owned();
        for segment in self.segments.iter().skip(self.owned_depth) {
            let value = match &segment.variable {
                None => Some(""),
                Some(Variable::Named(_, values)) => values.example(),
                // Every identity is bound in the owned part.
                Some(Variable::Hotkey | Variable::Coldkey) => None,
            };
            let Some(value) = value else { return owned.to_owned() };
            folder.push_str(&format!("{}{value}{}/", segment.before, segment.after));
        }
        folder
    }

    /// The literal path before the first variable, with its `/`: what validators see begins here.
    pub fn root(&self) -> String {
        self.segments
            .iter()
            .take_while(|segment| segment.variable.is_none())
            .map(|segment| format!("{}/", segment.before))
            .collect()
    }

    /// Whether one path can lie in a folder of either template while the identity is read from different
    /// places, so that it would have two owners.
    pub fn collides(&self, other: &Self) -> bool {
        let both = || self.segments.iter().zip(&other.segments);
        let identity = |segment: &Segment| match segment.variable {
            Some(Variable::Hotkey) => 1,
            Some(Variable::Coldkey) => 2,
            _ => 0,
        };
        let same_places =
            self.owned_depth == other.owned_depth && both().all(|(a, b)| identity(a) == identity(b));
        !same_places && both().all(|(a, b)| a.may_equal(b))
    }
}

fn parse_segment(text: &str, variables: &BTreeMap<String, Values>) -> Result<Segment, String> {
    if text.is_empty() || text == "." || text == ".." || text.chars().any(char::is_control) {
        return Err(format!(
            "the segment {text:?} must not be empty, \".\", \"..\" or hold control characters"
        ));
    }
    let (before, rest) = text.split_once('{').unwrap_or((text, ""));
    if before.contains('}') {
        return Err(format!("in {text:?} a \"}}\" has no \"{{\""));
    }
    if before.len() == text.len() {
        return Ok(Segment { before: before.to_owned(), variable: None, after: String::new() });
    }
    let Some((name, after)) = rest.split_once('}') else {
        return Err(format!("in {text:?} a \"{{\" has no \"}}\""));
    };
    if after.contains(['{', '}']) {
        return Err(format!("{text:?} holds more than one variable: one for each segment between \"/\""));
    }
    let variable = match name {
        "hotkey" => Variable::Hotkey,
        "coldkey" => Variable::Coldkey,
        _ => match variables.get(name) {
            Some(values) => Variable::Named(name.to_owned(), values.clone()),
            None => return Err(format!("{{{name}}} is not among policy.variables")),
        },
    };
    Ok(Segment { before: before.to_owned(), variable: Some(variable), after: after.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(hotkey: u8, coldkey: u8) -> Owner {
        let account = |id| AccountId::from_bytes([id; 32]).unwrap();
        Owner::new(account(hotkey), account(coldkey))
    }

    fn variables() -> BTreeMap<String, Values> {
        BTreeMap::from([
            ("source".to_owned(), Values::List(vec!["x".to_owned(), "reddit".to_owned()])),
            ("job_id".to_owned(), Values::pattern("[A-Za-z0-9_-]{1,64}").unwrap()),
        ])
    }

    fn template(text: &str) -> Template {
        Template::parse(text, &variables()).unwrap()
    }

    #[test]
    fn jobs_and_examples_are_named_by_the_layout() {
        let me = owner(1, 2);
        let (hotkey, coldkey) = (me.hotkey(), me.coldkey());
        let jobs = template("data/hotkey={hotkey}/job_id={job_id}/");
        let folder = format!("data/hotkey={hotkey}/");
        assert_eq!(jobs.job_folder(&me, "j-1"), Some(format!("{folder}job_id=j-1/")));
        assert!(jobs.owns(&me, &format!("{folder}job_id=j-1/f")));
        assert_eq!(jobs.job_folder(&me, "j/1"), None);
        assert_eq!(jobs.example_below(&folder), format!("{folder}job_id=default/"));
        assert_eq!(jobs.before_hotkey().as_deref(), Some("data/hotkey="));
        assert!(!jobs.names_coldkeys());

        let sources = template("data/{source}/{coldkey}/");
        let folder = format!("data/x/{coldkey}/");
        assert_eq!((sources.job_folder(&me, "j-1"), sources.before_hotkey()), (None, None));
        assert_eq!(sources.example_below(&folder), folder);
        assert!(sources.names_coldkeys());
        assert_eq!(template("{hotkey}/{source}/").example_below("5H/"), "5H/x/");
        assert_eq!(template("{hotkey}/").job_folder(&me, "j"), None);
        assert_eq!(template("a/{hotkey}/{coldkey}/{job_id}/").job_folder(&me, "j"), None);
        assert_eq!(template("{job_id}/{hotkey}/").before_hotkey(), None);
    }

    #[test]
    fn p23_a_key_is_in_a_folder_only_with_its_slash() {
        let sources = template("data/{source}/{coldkey}/");
        let (me, other) = (owner(1, 2), owner(3, 4));
        let mine = me.coldkey().to_owned();
        for key in [format!("data/x/{mine}/a"), format!("data/reddit/{mine}/a/b"), format!("data/x/{mine}/")]
        {
            assert!(sources.owns(&me, &key), "{key}");
            assert!(!sources.owns(&other, &key), "{key}");
        }
        for key in [
            format!("data/x/{mine}"),
            format!("data/x/{mine}D/a"),
            format!("data/x/{mine}.bak/a"),
            format!("data/web/{mine}/a"),
            format!("Data/x/{mine}/a"),
            format!("data/x/{}/a", mine.to_lowercase()),
            format!("data//x/{mine}/a"),
            format!("/data/x/{mine}/a"),
            format!("data/x/{}/a", me.hotkey()),
            format!("data/x/{}/../{mine}/a", other.coldkey()),
            String::new(),
        ] {
            assert!(!sources.owns(&me, &key), "{key}");
        }
    }

    #[test]
    fn p22_the_way_to_a_folder_is_its_beginning_by_whole_segments() {
        let (sources, jobs) = (template("data/{source}/{coldkey}/"), template("a/{hotkey}/job={job_id}/"));
        let me = owner(1, 2);
        let (hotkey, coldkey) = (me.hotkey().to_owned(), me.coldkey().to_owned());
        for path in ["data/", "data/x/", "data/reddit/"] {
            assert!(sources.leads_to_a_folder(&me, path), "{path}");
        }
        for path in [
            "",
            "/",
            "data",
            "dat/",
            "Data/",
            "data/x",
            "data/web/",
            "x/",
            "data//",
            "/data/",
            "data/../",
            "data/x/../",
            "secrets/",
        ] {
            assert!(!sources.leads_to_a_folder(&me, path), "{path}");
        }
        // The folder itself, what is in it, and what lies beside it.
        for path in [format!("data/x/{coldkey}/"), format!("data/x/{coldkey}/a/"), format!("data/{coldkey}/")]
        {
            assert!(!sources.leads_to_a_folder(&me, &path), "{path}");
        }
        assert!(jobs.leads_to_a_folder(&me, &format!("a/{hotkey}/")));
        assert!(!jobs.leads_to_a_folder(&owner(3, 4), &format!("a/{hotkey}/")));
        assert!(!jobs.leads_to_a_folder(&me, &format!("a/{hotkey}/job=a b/")));
    }

    #[test]
    fn lists_that_make_too_many_folders_are_refused() {
        let list = |count: usize| Values::List((0..count).map(|number| number.to_string()).collect());
        let parse = |lists: &[usize]| {
            let names = ["a", "b", "c"].map(str::to_owned);
            let variables = names.into_iter().zip(lists.iter().map(|count| list(*count))).collect();
            let path: Vec<_> = ["{a}", "{b}", "{c}"].into_iter().take(lists.len()).collect();
            Template::parse(&format!("{}/{{hotkey}}/", path.join("/")), &variables)
        };
        for lists in [[FOLDERS_MAX].as_slice(), &[100, 100], &[100, 100, 1]] {
            assert!(parse(lists).is_ok(), "{lists:?}");
        }
        for lists in [[FOLDERS_MAX + 1].as_slice(), &[100, 101], &[200, 200, 200]] {
            let refused = parse(lists).unwrap_err();
            assert!(refused.contains("more than 10000 folders for each owner"), "{refused}");
        }
    }

    #[test]
    fn variables_by_pattern_match_whole_segments() {
        let jobs = template("data/hotkey={hotkey}/job_id={job_id}/");
        let me = owner(1, 2);
        let mine = me.hotkey().to_owned();
        assert!(jobs.owns(&me, &format!("data/hotkey={mine}/job_id=a-B_9/data_1.parquet")));
        for key in [
            format!("data/hotkey={mine}/job_id=/f"),
            format!("data/hotkey={mine}/job_id=a b/f"),
            format!("data/hotkey={mine}/job_id={}/f", "a".repeat(65)),
            format!("data/hotkey={mine}/job_id=a\n/f"),
            format!("data/hotkey={mine}/other/f"),
            format!("data/hotkey={}/job_id=a/f", me.coldkey()),
        ] {
            assert!(!jobs.owns(&me, &key), "{key}");
        }
        assert_eq!(jobs.folders(&me, usize::MAX), [format!("data/hotkey={mine}/job_id={{job_id}}/")]);
        assert_eq!(jobs.folders(&me, 0), Vec::<String>::new());
    }

    #[test]
    fn p32_where_a_prefix_stands() {
        let sources = template("data/{source}/{coldkey}/");
        let me = owner(1, 2);
        let mine = me.coldkey().to_owned();
        let above = |texts: &[String]| Standing::Above(texts.to_vec());
        for (prefix, standing) in [
            (String::new(), above(&["data/".to_owned()])),
            ("data/".to_owned(), above(&["data/x/".to_owned(), "data/reddit/".to_owned()])),
            ("data/x/".to_owned(), above(&[format!("data/x/{mine}/")])),
            (format!("data/x/{mine}"), Standing::FolderItself),
            (format!("data/x/{mine}/"), Standing::Inside),
            (format!("data/x/{mine}/job/a"), Standing::Inside),
            ("data".to_owned(), Standing::Outside),
            ("dat".to_owned(), Standing::Outside),
            ("data/x/5".to_owned(), Standing::Outside),
            (format!("data/x/{}", mine.get(..47).unwrap()), Standing::Outside),
            ("data/web/".to_owned(), Standing::Outside),
            (format!("data/x/{}/", owner(3, 4).coldkey()), Standing::Outside),
            ("/".to_owned(), Standing::Outside),
        ] {
            assert_eq!(sources.standing(&me, &prefix), standing, "{prefix:?}");
        }
    }

    #[test]
    fn p32_open_variables_below_the_owner_are_listed_by_the_store() {
        let jobs = template("data/hotkey={hotkey}/job_id={job_id}/");
        let me = owner(1, 2);
        let mine = me.hotkey().to_owned();
        assert_eq!(jobs.standing(&me, &format!("data/hotkey={mine}/")), Standing::Inside);
        assert_eq!(jobs.standing(&me, &format!("data/hotkey={mine}/job_id=ab")), Standing::Inside);
        assert_eq!(jobs.standing(&me, &format!("data/hotkey={mine}")), Standing::FolderItself);
        assert_eq!(jobs.standing(&me, "data/"), Standing::Above(vec![format!("data/hotkey={mine}/")]));
        // Open and above the owner: nobody can say which lead to the caller.
        assert_eq!(template("data/{job_id}/{coldkey}/").standing(&me, "data/"), Standing::Outside);
    }

    #[test]
    fn faults_of_a_template_are_named() {
        for (text, says) in [
            ("data/{coldkey}", "must end"),
            ("data/{source}/", "everybody's"),
            ("data/{job}/{coldkey}/", "{job} is not among policy.variables"),
            ("data/{source}-{coldkey}/", "more than one variable"),
            ("data//{coldkey}/", "must not be empty"),
            ("../{coldkey}/", "must not be empty"),
            ("data/{coldkey/", "has no"),
            ("data/coldkey}/", "has no"),
        ] {
            let fault = Template::parse(text, &variables()).unwrap_err();
            assert!(fault.contains(says), "{text}: {fault}");
        }
    }

    #[test]
    fn templates_that_give_one_path_two_owners_collide() {
        let open = BTreeMap::from([("any".to_owned(), Values::pattern(".+").unwrap())]);
        let any = Template::parse("data/{any}/{coldkey}/", &open).unwrap();
        let coldkeys = template("data/{coldkey}/");
        assert!(any.collides(&coldkeys) && coldkeys.collides(&any));
        assert!(template("data/{hotkey}/").collides(&coldkeys));
        assert!(!template("data/{source}/{coldkey}/").collides(&coldkeys));
        assert!(
            !template("data/hotkey={hotkey}/job_id={job_id}/")
                .collides(&template("data/{source}/{coldkey}/"))
        );
        assert!(!any.collides(&any));
    }

    #[test]
    fn open_variables_above_the_identity_are_told() {
        for (text, open, identified, owned) in [
            ("data/{source}/{coldkey}/", None, 3, 3),
            ("data/{source}/{coldkey}/{job_id}/", None, 3, 3),
            ("data/{job_id}/{coldkey}/", Some("job_id"), 3, 3),
            ("data/{source}/j={job_id}/all/{hotkey}/", Some("job_id"), 5, 5),
            ("{hotkey}/{job_id}/{coldkey}/", None, 1, 3),
        ] {
            let template = template(text);
            let depths = (template.identified_depth(), template.owned_depth());
            assert_eq!((template.open_variable_above(), depths), (open, (identified, owned)), "{text}");
        }
        let jobs = template("data/j={job_id}/{hotkey}/");
        assert_eq!((jobs.literal_start(0), jobs.literal_start(1), jobs.literal_start(2)), ("data", "j=", ""));
        let me = owner(1, 2);
        assert_eq!(jobs.name_of(&me), me.hotkey());
        assert_eq!(template("{hotkey}/{job_id}/{coldkey}/").name_of(&me), me.coldkey());
    }

    #[test]
    fn no_segment_is_a_way_elsewhere() {
        for text in ["./{coldkey}/", "a/./{coldkey}/", "a/../{coldkey}/", "a\n/{coldkey}/", "/{coldkey}/"] {
            let fault = Template::parse(text, &variables()).unwrap_err();
            assert!(fault.contains("must not be empty"), "{text:?}: {fault}");
        }
    }

    #[test]
    fn literal_text_beside_a_variable_decides_whether_templates_collide() {
        for (one, other, collide) in [
            // Open on both sides: 5H… may begin with what the other one has before its variable.
            ("d/a{hotkey}/", "d/ab{coldkey}/", true),
            ("d/a{hotkey}/", "d/b{coldkey}/", false),
            ("d/{hotkey}b/", "d/{coldkey}.b/", true),
            ("d/{hotkey}.a/", "d/{coldkey}.b/", false),
            ("d/a{hotkey}.x/", "d/b{coldkey}.x/", false),
            ("d/a{hotkey}.x/", "d/a{coldkey}.y/", false),
            // Open on one side, by list and by pattern.
            ("d/x/{hotkey}/", "d/{source}/{coldkey}/", true),
            ("d/web/{hotkey}/", "d/{source}/{coldkey}/", false),
            ("d/x/{hotkey}/", "d/{job_id}/{coldkey}/", true),
            ("d/a b/{hotkey}/", "d/{job_id}/{coldkey}/", false),
            ("d/{source}/{hotkey}/", "d/{job_id}/{coldkey}/", true),
            ("d/{source}.x/{hotkey}/", "d/{job_id}/{coldkey}/", false),
            // No list of values and no literal text is an address.
            ("d/x/{hotkey}/", "d/{coldkey}/f/", false),
            ("d/{source}/{hotkey}/", "d/{coldkey}/f/", false),
        ] {
            let (one, other) = (template(one), template(other));
            assert_eq!(one.collides(&other), collide, "{} {}", one.as_str(), other.as_str());
            assert_eq!(other.collides(&one), collide, "{} {}", other.as_str(), one.as_str());
        }
    }

    #[test]
    fn an_address_that_only_one_template_reads_makes_two_owners() {
        for (one, other) in [
            ("d/{hotkey}/{coldkey}/", "d/{job_id}/{coldkey}/"),
            ("d/{coldkey}/{hotkey}/", "d/{job_id}/{hotkey}/"),
        ] {
            let (one, other) = (template(one), template(other));
            assert!(one.collides(&other) && other.collides(&one), "{} {}", one.as_str(), other.as_str());
            assert!(!one.collides(&one) && !other.collides(&other));
        }
    }

    #[test]
    fn a_pattern_is_shown_as_it_was_given_and_names_no_empty_folder() {
        let (list, pattern) = (Values::List(vec!["x".to_owned(), "y".to_owned()]), "[a-z]*");
        assert_eq!((list.expression(), list.example()), (None, Some("x")));
        let values = Values::pattern(pattern).unwrap();
        assert_eq!((values.expression(), values.example()), (Some(pattern), Some("default")));
        assert_eq!(Values::pattern("[0-9]+").unwrap().example(), None);
        assert!(Values::pattern("(").is_err());
        let open = BTreeMap::from([("any".to_owned(), values)]);
        let any = Template::parse("d/{any}/{coldkey}/", &open).unwrap();
        let me = owner(1, 2);
        assert!(any.owns(&me, &format!("d/a/{}/f", me.coldkey())));
        assert!(!any.owns(&me, &format!("d//{}/f", me.coldkey())), "an empty segment is nobody's");
    }

    #[test]
    fn a_path_that_was_found_says_whose_it_is() {
        let account = |id| AccountId::from_bytes([id; 32]).unwrap();
        let all = template("d/{source}-v1/h={hotkey}/{coldkey}.d/{job_id}/");
        assert_eq!(all.depth(), 5);
        let (hotkey, coldkey) = (account(1).to_ss58(), account(2).to_ss58());
        for (depth, text, says) in [
            (0, "d".to_owned(), Some(Bound::Literal)),
            (0, "dd".to_owned(), None),
            (0, String::new(), None),
            (1, "x-v1".to_owned(), Some(Bound::Named("x".to_owned()))),
            (1, "web-v1".to_owned(), None),
            (1, "x".to_owned(), None),
            (2, format!("h={hotkey}"), Some(Bound::Hotkey(account(1)))),
            (2, hotkey, None),
            (2, "h=5Abc".to_owned(), None),
            (3, format!("{coldkey}.d"), Some(Bound::Coldkey(account(2)))),
            (3, coldkey, None),
            (4, "j-1".to_owned(), Some(Bound::Named("j-1".to_owned()))),
            (4, "j 1".to_owned(), None),
            (5, "f".to_owned(), None),
        ] {
            assert_eq!(all.read(depth, &text), says, "{depth} {text}");
        }
        let named = |text: &str, value: &str| (text.to_owned(), Bound::Named(value.to_owned()));
        assert_eq!(all.known(0), Some(vec![("d".to_owned(), Bound::Literal)]));
        assert_eq!(all.known(1), Some(vec![named("x-v1", "x"), named("reddit-v1", "reddit")]));
        for only_the_store_can_tell in 2..6 {
            assert_eq!(all.known(only_the_store_can_tell), None);
        }
    }

    #[test]
    fn an_owners_folders_reach_down_to_its_last_address() {
        let me = owner(1, 2);
        let (hotkey, coldkey) = (me.hotkey(), me.coldkey());
        let sources = template("data/{source}.d/{coldkey}/{job_id}/");
        let folder = |source: &str| format!("data/{source}.d/{coldkey}/");
        assert_eq!(sources.owned_folders(&me, None), [folder("x"), folder("reddit")]);
        assert_eq!(sources.owned_folders(&me, Some("x")), [folder("x")]);
        assert!(sources.owned_folders(&me, Some("web")).is_empty(), "no source of this layout");
        let plain = template("more/{hotkey}/{source}/");
        assert_eq!(plain.owned_folders(&me, None), [format!("more/{hotkey}/")]);
        assert!(plain.owned_folders(&me, Some("x")).is_empty(), "sources lie below the owner here");
        // Another list of values is no list of sources.
        let open = BTreeMap::from([
            ("kind".to_owned(), Values::List(vec!["a".to_owned(), "x".to_owned()])),
            ("source".to_owned(), Values::List(vec!["x".to_owned()])),
        ]);
        let both = Template::parse("{kind}/{source}/{hotkey}/", &open).unwrap();
        assert_eq!(both.owned_folders(&me, Some("x")), [format!("a/x/{hotkey}/"), format!("x/x/{hotkey}/")]);
        // Left open above the owner: nobody can say which.
        assert!(template("data/{job_id}/{coldkey}/").owned_folders(&me, None).is_empty());
    }

    #[test]
    fn a_template_tells_its_variables() {
        let names = |text: &str| {
            let template = template(text);
            let variables: Vec<_> = template.variables().map(|(name, _)| name.to_owned()).collect();
            (template.as_str().to_owned(), variables, template.names_hotkeys(), template.names_coldkeys())
        };
        for (text, variables, hotkeys, coldkeys) in [
            ("data/{source}/{coldkey}/", vec!["source"], false, true),
            ("data/{hotkey}/{job_id}/", vec!["job_id"], true, false),
            ("{hotkey}/{source}/{coldkey}/{job_id}/", vec!["source", "job_id"], true, true),
            ("data/{hotkey}/", vec![], true, false),
        ] {
            let variables: Vec<_> = variables.into_iter().map(str::to_owned).collect();
            assert_eq!(names(text), (text.to_owned(), variables, hotkeys, coldkeys));
        }
        let sources = template("data/{source}/{coldkey}/");
        let (_, values) = sources.variables().next().unwrap();
        assert!(values.allow("reddit") && !values.allow("web"));
    }

    #[test]
    fn roots_are_the_literal_beginning() {
        assert_eq!(template("data/{source}/{coldkey}/").root(), "data/");
        assert_eq!(template("a/b/hotkey={hotkey}/").root(), "a/b/");
        assert_eq!(template("{coldkey}/").root(), "");
    }
}
