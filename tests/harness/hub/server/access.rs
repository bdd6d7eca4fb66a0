//! Who asks, by the token, and what the Hub says to those who may not.

use super::{answer::Answer, repository::Repository, site::State};

#[derive(Debug, Clone)]
pub struct User {
    pub name: String,
    pub may_write: bool,
}

/// By whose token a request came.
#[derive(Debug, Clone)]
pub enum Who {
    Nobody,
    User(User),
    /// A token that nobody has.
    Wrong,
}

impl Who {
    pub fn is(&self, name: &str) -> bool {
        matches!(self, Self::User(user) if user.name == name)
    }
}

impl State {
    pub fn who(&self, authorization: Option<&str>) -> Who {
        match authorization {
            None => Who::Nobody,
            Some(value) => value
                .strip_prefix("Bearer ")
                .and_then(|token| self.users.get(token))
                .map_or(Who::Wrong, |user| Who::User(user.clone())),
        }
    }

    /// The dataset, if it is there for whoever asks.
    pub fn to_see(&self, who: &Who, id: &str) -> Result<&Repository, Answer> {
        if matches!(who, Who::Wrong) {
            return Err(wrong_token());
        }
        let found = self.repositories.get(id);
        match found.filter(|repository| !repository.is_private() || who.is(repository.owner())) {
            Some(repository) => Ok(repository),
            // Nobody learns what is private by the difference.
            None if matches!(who, Who::Nobody) => {
                Err(Answer::refusal(401, "RepoNotFound", "Invalid username or password."))
            }
            None => Err(Answer::refusal(404, "RepoNotFound", "Repository not found")),
        }
    }

    /// The dataset, if whoever asks may read its files.
    pub fn to_read(&self, who: &Who, id: &str) -> Result<&Repository, Answer> {
        let repository = self.to_see(who, id)?;
        if repository.is_gated() && !who.is(repository.owner()) {
            let status = if matches!(who, Who::Nobody) { 401 } else { 403 };
            let message = format!("Access to dataset {id} is restricted. You must have access to it.");
            return Err(Answer::refusal(status, "GatedRepo", &message));
        }
        Ok(repository)
    }

    /// The dataset, if whoever asks may write it.
    pub fn to_write(&self, who: &Who, id: &str) -> Result<&Repository, Answer> {
        let repository = self.to_see(who, id)?;
        may_write(who, repository.owner())?;
        Ok(repository)
    }
}

/// Whether that one may write what is below the name of `owner`.
pub fn may_write(who: &Who, owner: &str) -> Result<(), Answer> {
    match who {
        Who::Wrong => Err(wrong_token()),
        Who::Nobody => Err(Answer::refusal(401, "", "Invalid username or password.")),
        Who::User(user) if user.name == owner && user.may_write => Ok(()),
        Who::User(_) => {
            let message = format!("Forbidden: you must use a write token to write below {owner}");
            Err(Answer::refusal(403, "", &message))
        }
    }
}

pub fn wrong_token() -> Answer {
    Answer::refusal(401, "", "Invalid credentials in Authorization header")
}
