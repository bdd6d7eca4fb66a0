//! `tests/RULES.md` and the tests speak of the same rules.

use std::collections::{BTreeMap, BTreeSet};

use super::sources::{read, root, rust_files, shown};

struct Rule {
    /// Without a test until something that the list names.
    later: bool,
}

/// The rules of the list, by their numbers (`P12`).
fn rules() -> BTreeMap<String, Rule> {
    let text = read(&root().join("tests/RULES.md"));
    let mut rules = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with('|')) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let &[number, goes_wrong, holds] = cells.as_slice() else { panic!("three cells in a row: {line}") };
        if number == "Rule" || number.starts_with('-') {
            continue;
        }
        let digits = number.strip_prefix(['P', 'S']).unwrap_or_else(|| panic!("a rule's number: {number}"));
        assert!(digits.parse::<u32>().is_ok(), "a rule's number: {number}");
        assert!(goes_wrong.ends_with('.') && holds.ends_with('.'), "{number} is told in sentences");
        let later = holds.starts_with("later: ");
        assert!(rules.insert(number.to_owned(), Rule { later }).is_none(), "{number} is told twice");
    }
    rules
}

/// The numbers with which the name of a test begins.
fn numbers_of(name: &str, rules: &BTreeMap<String, Rule>) -> Vec<String> {
    let is_number = |word: &str, upper: &str| {
        rules.contains_key(upper)
            || word.strip_prefix('p').is_some_and(|digits| digits.parse::<u32>().is_ok())
    };
    name.split('_')
        .map(|word| (word, word.to_ascii_uppercase()))
        .take_while(|(word, upper)| is_number(word, upper))
        .map(|(_, upper)| upper)
        .collect()
}

/// The numbers that a comment names: `(P12)`, `P1 to P3`.
fn numbers_in(comment: &str) -> Vec<String> {
    comment
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| word.strip_prefix('P').is_some_and(|digits| digits.parse::<u32>().is_ok()))
        .map(str::to_owned)
        .collect()
}

#[test]
fn numbers_are_read_out_of_names_and_comments() {
    let rules = rules();
    assert_eq!(numbers_of("p1_p26_values_are_joined_as_p9_says", &rules), ["P1", "P26"]);
    assert_eq!(numbers_of("s10_sizes_hold", &rules), ["S10"]);
    assert!(numbers_of("s3_has_keys", &rules).is_empty() && numbers_of("paths_are_read", &rules).is_empty());
    assert_eq!(numbers_in("// P1 to P3, (P9): not PUT, nor P"), ["P1", "P3", "P9"]);
}

#[test]
fn every_rule_has_a_test_and_every_number_is_a_rule() {
    let rules = rules();
    let (mut tested, mut unknown) = (BTreeSet::new(), BTreeSet::new());
    for file in rust_files("src").into_iter().chain(rust_files("tests")) {
        let own = file.ends_with("tests/house/rules.rs");
        for line in read(&file).lines().filter(|_| !own) {
            let cited = match line.trim_start().split_once("fn ") {
                Some((before, name)) if !before.contains("//") => {
                    let name = name.split('(').next().unwrap_or_default();
                    let cited = numbers_of(name, &rules);
                    tested.extend(cited.clone());
                    cited
                }
                _ => line.split_once("//").map(|(_, comment)| numbers_in(comment)).unwrap_or_default(),
            };
            let strange = cited.iter().filter(|number| !rules.contains_key(*number));
            unknown.extend(strange.map(|number| format!("{number} in {}", shown(&file))));
        }
    }
    assert!(unknown.is_empty(), "not in tests/RULES.md: {unknown:#?}");
    let untested: Vec<_> = rules
        .iter()
        .filter(|(number, rule)| !rule.later && !tested.contains(*number))
        .map(|(n, _)| n)
        .collect();
    assert!(untested.is_empty(), "rules without a test under their number: {untested:?}");
    let here: Vec<_> = rules
        .iter()
        .filter(|(number, rule)| rule.later && tested.contains(*number))
        .map(|(n, _)| n)
        .collect();
    assert!(here.is_empty(), "no longer `later`, they have tests: {here:?}");
}
