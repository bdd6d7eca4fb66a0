//! What a role may do in its own folders, and under the data roots.

use serde::Deserialize;

use crate::chain::Role;

/// One kind of access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// List keys, uploads and parts.
    List,
    /// Read objects and what describes them.
    Read,
    /// Write objects, in one piece, by copy or in parts.
    Write,
    /// Delete objects.
    Delete,
}

impl Action {
    /// Every action, from the least to the most.
    pub const ALL: [Self; 4] = [Self::List, Self::Read, Self::Write, Self::Delete];

    /// The verb, for messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Read => "read",
            Self::Write => "write",
            Self::Delete => "delete",
        }
    }
}

/// A set of actions.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(transparent)]
pub struct Actions(Vec<Action>);

impl Actions {
    /// Whether `action` is among them.
    pub fn contains(&self, action: Action) -> bool {
        self.0.contains(&action)
    }
}

/// The rights of one role.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rights {
    /// In the caller's own folders.
    pub own: Actions,
    /// Everywhere under the data roots.
    pub all: Actions,
}

/// The rights of every role; a role that the configuration leaves out keeps its default.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RoleRights {
    /// Of miners.
    pub miner: Rights,
    /// Of validators.
    pub validator: Rights,
}

impl Default for RoleRights {
    fn default() -> Self {
        let own = || Actions(vec![Action::List, Action::Read, Action::Write, Action::Delete]);
        Self {
            miner: Rights { own: own(), all: Actions::default() },
            validator: Rights { own: own(), all: Actions(vec![Action::List, Action::Read]) },
        }
    }
}

impl RoleRights {
    /// The rights of `role`; those of a miner where it is undecided, which the policy asks beside the
    /// validator's.
    pub fn of(&self, role: Role) -> &Rights {
        match role {
            Role::Miner | Role::Undecided => &self.miner,
            Role::Validator => &self.validator,
        }
    }
}
