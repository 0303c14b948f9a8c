//! Families: the tables of rules under the names that users switch them off by.

use super::{EXACT, ROUNDING, Rule, SIGNS};
use std::fmt::Write;

/// Rules on one topic.
#[derive(Clone, Copy)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// Its rows.
    pub rules: &'static [Rule],
}

impl IntoIterator for Family {
    type Item = &'static Rule;
    type IntoIter = std::slice::Iter<'static, Rule>;

    fn into_iter(self) -> Self::IntoIter {
        self.rules.iter()
    }
}

/// Every family there is.
pub fn families() -> impl Iterator<Item = Family> {
    EXACT.iter().chain([&SIGNS]).chain(ROUNDING).copied()
}

/// The rules of some families, without those that `disabled` names by themselves or by their family.
pub fn enabled<'a>(families: impl Iterator<Item = &'a Family>, disabled: &[String]) -> Vec<&'static Rule> {
    let allowed = |name: &str| !disabled.iter().any(|other| other == name);
    families.filter(|family| allowed(family.name)).copied().flatten().filter(|rule| allowed(rule.name)).collect()
}

/// Whether a rule or a family has this name.
pub fn is_known(name: &str) -> bool {
    families().any(|family| family.name == name || family.rules.iter().any(|rule| rule.name == name))
}

/// The names of all families, each with its rules.
pub fn listing() -> String {
    families().fold(String::new(), |mut text, family| {
        let rules: Vec<&str> = family.rules.iter().map(|rule| rule.name).collect();
        let _ = write!(text, "\n  {}: {}", family.name, rules.join(", "));
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_name_means_one_thing() {
        let mut seen = BTreeSet::new();
        let passes = crate::pipeline::names();
        let names = families().flat_map(|family| [family.name].into_iter().chain(family.into_iter().map(|r| r.name)));
        let twice: Vec<&str> = names.chain(passes).filter(|name| !seen.insert(*name)).collect();
        assert!(twice.is_empty(), "{twice:?}");
    }

    #[test]
    fn rules_go_by_name_and_by_family() {
        let all = enabled(families().collect::<Vec<_>>().iter(), &[]);
        let first = EXACT[0].rules[0].name;
        let names = [EXACT[1].name.to_owned(), first.to_owned()];
        let left = enabled(EXACT.iter().take(2), &names);
        assert_eq!(left.len(), EXACT[0].rules.len() - 1);
        assert!(all.iter().all(|rule| is_known(rule.name)) && is_known(EXACT[0].name) && !is_known("sorcery"));
    }
}
