//! What the Hub answers, request by request.

use serde::Deserialize;
use serde_json::json;

use super::{
    access::{Who, may_write, wrong_token},
    answer::Answer,
    content::Content,
    fault::Failure,
    http::Request,
    listing, now_seconds,
    repository::Visibility,
    route::{Route, Verb},
    site::{Site, State},
    upload,
};

#[derive(Deserialize)]
struct NewDataset {
    name: String,
    organization: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    private: Option<bool>,
    visibility: Option<String>,
}

impl Site {
    /// The answer, were it not for what else goes wrong.
    pub fn answer(&self, route: &Route, request: &Request, failure: Option<&Failure>) -> Answer {
        let mut state = self.state();
        let who = state.who(request.header("authorization"));
        let answer = match route {
            Route::WhoAmI => who_am_i(&who),
            Route::CheckCard => Ok(Answer::json(200, &json!({ "errors": [], "warnings": [] }))),
            Route::Create => self.create(&mut state, &who, request),
            Route::Delete => delete(&mut state, &who, request),
            Route::Dataset { id, verb } => self.dataset_answer(&mut state, &who, request, id, verb),
            Route::Resolve { id, revision, path } => {
                self.resolve(&state, &who, (id, revision, path), failure)
            }
            Route::Small { id, commit, path } => small(&state, &who, request, (id, commit, path)),
            Route::Batch { id } => self.batch(&mut state, &who, request, id),
            Route::Verify => upload::verify(&state, &who, request),
            Route::Complete => upload::complete(&mut state, request),
            Route::Download { sha256, .. } => self.download(&mut state, request, sha256),
            Route::Put { sha256 } => self.put(&mut state, request, sha256),
            Route::Unknown => {
                Err(Answer::refusal(404, "", "Sorry, we can't find the page you are looking for."))
            }
        };
        answer.unwrap_or_else(|refusal| refusal)
    }

    fn create(&self, state: &mut State, who: &Who, request: &Request) -> Result<Answer, Answer> {
        let asked: NewDataset = request.json()?;
        if asked.kind.as_deref() != Some("dataset") {
            return Err(upload::bad("this Hub has datasets and nothing else"));
        }
        let own = if let Who::User(user) = who { user.name.clone() } else { String::new() };
        let owner = asked.organization.unwrap_or(own);
        may_write(who, &owner)?;
        let id = format!("{owner}/{}", asked.name);
        let url = format!("{}/datasets/{id}", self.endpoint);
        if state.repositories.contains_key(&id) {
            let error = json!({ "error": "You already created this dataset repo", "url": url });
            return Err(Answer::json(409, &error));
        }
        let is_private = asked.private == Some(true) || asked.visibility.as_deref() == Some("private");
        state.create(&id, if is_private { Visibility::Private } else { Visibility::Public });
        Ok(Answer::json(200, &json!({ "url": url, "name": id, "id": id })))
    }

    fn dataset_answer(
        &self,
        state: &mut State,
        who: &Who,
        request: &Request,
        id: &str,
        verb: &Verb,
    ) -> Result<Answer, Answer> {
        if let Verb::Commit { revision } = verb {
            return upload::commit(state, &self.endpoint, who, request, (id, revision));
        }
        if let Verb::MakeBranch { .. } | Verb::MakeTag { .. } = verb {
            return name_commit(state, who, request, id, verb);
        }
        if let Verb::Preupload { revision } = verb {
            let head = state.to_write(who, id)?.head(revision);
            return upload::preupload(request, &*head.ok_or_else(|| upload::no_revision(revision))?);
        }
        let repository = state.to_see(who, id)?;
        let at = |revision: &str| repository.at(revision).ok_or_else(|| upload::no_revision(revision));
        Ok(match verb {
            Verb::Info { revision } => listing::info(request, repository, &*at(revision)?),
            Verb::Tree { revision, path } => {
                listing::tree(state, &self.endpoint, request, &*at(revision)?, path)
            }
            Verb::Paths { revision } => listing::paths_info(request, &*at(revision)?),
            Verb::Commits { revision } => {
                at(revision)?;
                listing::commits(repository, revision)
            }
            _ => listing::refs(repository),
        })
    }

    /// Leads to the file: to the CDN by a URL that counts for a while, or beside, where small files are.
    fn resolve(
        &self,
        state: &State,
        who: &Who,
        (id, revision, path): (&str, &str, &str),
        failure: Option<&Failure>,
    ) -> Result<Answer, Answer> {
        let repository = state.to_read(who, id)?;
        let commit = repository.at(revision).ok_or_else(|| upload::no_revision(revision))?;
        let missing = || Answer::refusal(404, "EntryNotFound", "Entry not found");
        let file = commit.files.get(path);
        let file = file.ok_or_else(|| missing().header("x-repo-commit", commit.oid.clone()))?;
        let (status, usual) = match &file.lfs {
            Some(lfs) => {
                let life = state.limits.url_seconds;
                let expires = if failure == Some(&Failure::Expired) {
                    now_seconds() - 60
                } else {
                    now_seconds() + life
                };
                let name = path.rsplit('/').next().unwrap_or_default();
                let query = format!("response-content-disposition={}", listing::encoded(name));
                (302, self.signed_url("GET", &format!("/repos/{id}/{}", lfs.sha256), &query, expires))
            }
            None => {
                let path = listing::encoded(path);
                (307, format!("/api/resolve-cache/datasets/{id}/{}/{path}", commit.oid))
            }
        };
        let to = if let Some(Failure::Redirect { to }) = failure { to.clone() } else { usual };
        Ok(Answer::redirect(status, &to)
            .header("x-repo-commit", commit.oid.clone())
            .header("x-linked-size", file.content.size().to_string())
            .header("x-linked-etag", format!("\"{}\"", file.oid()))
            .header("accept-ranges", "bytes"))
    }
}

fn who_am_i(who: &Who) -> Result<Answer, Answer> {
    let Who::User(user) = who else { return Err(wrong_token()) };
    let role = if user.may_write { "write" } else { "read" };
    let auth =
        json!({ "type": "access_token", "accessToken": { "displayName": "of the tests", "role": role } });
    Ok(Answer::json(
        200,
        &json!({
            "type": "user", "id": user.name, "name": user.name, "fullname": user.name, "orgs": [],
            "auth": auth,
        }),
    ))
}

fn delete(state: &mut State, who: &Who, request: &Request) -> Result<Answer, Answer> {
    let asked: NewDataset = request.json()?;
    let own = if let Who::User(user) = who { user.name.clone() } else { String::new() };
    let id = format!("{}/{}", asked.organization.unwrap_or(own), asked.name);
    state.to_write(who, &id)?;
    state.repositories.remove(&id);
    Ok(Answer::new(200, Content::from(Vec::new())))
}

#[derive(Deserialize)]
struct Name {
    tag: Option<String>,
    #[serde(rename = "startingPoint")]
    starting_point: Option<String>,
}

/// A branch or a tag.
fn name_commit(
    state: &mut State,
    who: &Who,
    request: &Request,
    id: &str,
    verb: &Verb,
) -> Result<Answer, Answer> {
    let asked: Name = request.json()?;
    let repository = state.to_write(who, id)?;
    let (is_branch, name, revision) = match verb {
        Verb::MakeTag { revision } => (false, asked.tag.unwrap_or_default(), revision.clone()),
        Verb::MakeBranch { name } => {
            (true, name.clone(), asked.starting_point.unwrap_or_else(|| "main".to_owned()))
        }
        _ => return Err(upload::bad("neither a branch nor a tag")),
    };
    let commit = repository.at(&revision).ok_or_else(|| upload::no_revision(&revision))?;
    let is_known = if is_branch { &repository.branches } else { &repository.tags }.contains_key(&name);
    if name.is_empty() || is_known {
        return Err(Answer::refusal(409, "", "That reference already exists"));
    }
    if let Some(repository) = state.repositories.get_mut(id) {
        let refs = if is_branch { &mut repository.branches } else { &mut repository.tags };
        refs.insert(name, commit.oid.clone());
    }
    Ok(Answer::new(200, Content::from(Vec::new())))
}

fn small(
    state: &State,
    who: &Who,
    request: &Request,
    (id, commit, path): (&str, &str, &str),
) -> Result<Answer, Answer> {
    let commit = state.to_read(who, id)?.at(commit).ok_or_else(|| upload::no_revision(commit))?;
    let missing = || Answer::refusal(404, "EntryNotFound", "Entry not found");
    let file = commit.files.get(path).filter(|file| file.lfs.is_none()).ok_or_else(missing)?;
    Ok(Answer::file(file.content.clone(), request.header("range"))
        .header("etag", format!("\"{}\"", file.git_oid))
        .header("x-repo-commit", commit.oid.clone())
        .header("content-type", "text/plain; charset=utf-8"))
}
