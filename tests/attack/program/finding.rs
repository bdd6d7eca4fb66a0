//! What came of an attack: tries are collected, and the first that gets through is the finding.

use super::{
    arena::{Arena, Identity},
    call::{Call, Signed},
    wire::Answer,
};

/// What came of one attack, with its line of evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Finding {
    Held(String),
    Open(String),
    NotApplicable(String),
}

/// Why an attack ended before it was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop {
    NotApplicable(String),
    /// It could not be run: the server does not answer, or not what it holds.
    Trouble(String),
}

impl Stop {
    pub(crate) fn not_applicable(why: impl Into<String>) -> Self {
        Self::NotApplicable(why.into())
    }

    pub(crate) fn trouble(why: impl Into<String>) -> Self {
        Self::Trouble(why.into())
    }
}

/// The tries of one attack.
pub(crate) struct Trial<'a> {
    arena: &'a Arena,
    answers: Vec<String>,
    open: Option<String>,
}

impl<'a> Trial<'a> {
    pub(crate) fn new(arena: &'a Arena) -> Self {
        Self { arena, answers: Vec::new(), open: None }
    }

    /// The honest variant works, or the attack shows nothing.
    pub(crate) fn honest(&self, what: &str, answer: &Answer) -> Result<(), Stop> {
        if answer.is_success() {
            return Ok(());
        }
        Err(Stop::not_applicable(format!("the honest {what} is answered {}", answer.brief())))
    }

    /// The honest PUT of that call stands with this content.
    pub(crate) fn honest_write(
        &self,
        who: &Identity,
        key: &str,
        call: &Call,
        content: &[u8],
    ) -> Result<(), Stop> {
        self.honest("PUT", &self.arena.ask(who, call))?;
        if self.arena.stands(who, key)?.as_deref() == Some(content) {
            return Ok(());
        }
        Err(Stop::not_applicable("what the honest PUT has put reads back otherwise"))
    }

    /// Whether nothing has got through yet.
    pub(crate) fn goes_on(&self) -> bool {
        self.open.is_none()
    }

    /// Notes a try: `effect` says what it brought about, if anything.
    pub(crate) fn tried(&mut self, label: &str, answer: &Answer, effect: Option<String>) {
        self.answers.push(answer.brief());
        if let (None, Some(effect)) = (&self.open, effect) {
            self.open = Some(format!("{label}: answered {}, {effect}", answer.brief()));
        }
    }

    /// A request after which at `key` stands what stood before.
    pub(crate) fn must_not_write(
        &mut self,
        label: &str,
        owner: &Identity,
        (key, before): (&str, Option<&[u8]>),
        request: &Signed,
    ) -> Result<(), Stop> {
        if !self.goes_on() {
            return Ok(());
        }
        let answer = self.arena.send(request);
        self.must_be_as_before(label, owner, (key, before), &answer)
    }

    /// After an answer, at `key` stands what stood before.
    pub(crate) fn must_be_as_before(
        &mut self,
        label: &str,
        owner: &Identity,
        (key, before): (&str, Option<&[u8]>),
        answer: &Answer,
    ) -> Result<(), Stop> {
        let after = self.arena.stands(owner, key)?;
        let effect = (after.as_deref() != before).then(|| match &after {
            Some(after) => format!("and {} bytes stand at {key}", after.len()),
            None => format!("and {key} is gone"),
        });
        self.tried(label, answer, effect);
        Ok(())
    }

    /// A request whose answer does not hold `secret`.
    pub(crate) fn must_not_read(&mut self, label: &str, request: &Signed, secret: &[u8]) {
        if self.goes_on() {
            let answer = self.arena.send(request);
            self.must_not_hold(label, &answer, secret);
        }
    }

    pub(crate) fn must_not_hold(&mut self, label: &str, answer: &Answer, secret: &[u8]) {
        let effect = answer.holds(secret).then(|| "with what should not be read".to_owned());
        self.tried(label, answer, effect);
    }

    /// A request that must not succeed.
    pub(crate) fn must_fail(&mut self, label: &str, request: &Signed) {
        if self.goes_on() {
            let answer = self.arena.send(request);
            let effect = answer.is_success().then(|| "a success".to_owned());
            self.tried(label, &answer, effect);
        }
    }

    /// The finding; `stands` says what was read back where all held.
    pub(crate) fn end(self, stands: &str) -> Result<Finding, Stop> {
        if let Some(open) = self.open {
            return Ok(Finding::Open(open));
        }
        let tries = self.answers.len();
        let mut kinds = self.answers;
        kinds.sort();
        kinds.dedup();
        Ok(Finding::Held(format!("{tries} tried: {}; {stands}", kinds.join(", "))))
    }
}
