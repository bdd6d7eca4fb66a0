//! The real server, in front of its embedded store: sends what a sequence says and compares what comes back.

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use aws_lc_rs::digest;
use base64::{Engine, prelude::BASE64_STANDARD};
use md5::{Digest, Md5};
use subgate::{
    auth::bittensor::{btauth, sr25519::Keypair},
    s3::xml::Element,
};

use super::{
    expected::{ANY_REFUSAL, Action, Expected, Listed, Model, Object, OpenUpload, People, Refused},
    operations::{
        Content, Key, List, NamedPart, Operation, Prefix, ReadCondition, Sent, Step, Upload, Who,
        WriteCondition,
    },
};
use crate::{
    doctor::Dev,
    harness::{
        client::{Answer, Call, Connection, Key as Signer, Payload},
        server::{BUCKET, nanos, session_key},
        sigv4,
    },
};

/// What differs, for a person.
pub type Difference = String;

/// An ETag that no object has.
const OTHER_ETAG: &str = "\"00000000000000000000000000000000\"";

/// The ETag of a folder marker.
const ETAG_OF_NOTHING: &str = "\"d41d8cd98f00b204e9800998ecf8427e\"";

/// What certainly fits into the buffers between Subgate and the store.
const SMALL_BODY_BYTES: usize = 16 << 10;

/// The status of an answer that did not come.
const NO_ANSWER: u16 = 0;

/// One side that is spoken to, over a connection that is kept.
struct Peer {
    address: SocketAddr,
    connection: Option<Connection>,
}

impl Peer {
    fn new(endpoint: &str) -> Self {
        let address = endpoint.trim_start_matches("http://").parse().unwrap();
        Self { address, connection: None }
    }

    async fn connection(&mut self) -> Connection {
        match self.connection.take() {
            Some(connection) => connection,
            None => Connection::connect(self.address).await,
        }
    }

    async fn send(&mut self, signer: &Signer, call: &Call) -> Answer {
        let signed = call.sign(signer, &self.address.to_string());
        let mut connection = self.connection().await;
        // An upload that is refused early may meet a closed connection; the answer is there all the same.
        let _ = connection.try_send(&[signed.head(), signed.body.clone()].concat()).await;
        let Ok(answer) = connection.try_answer(&signed.method).await else {
            return no_answer(&signed.method);
        };
        if answer.get("connection") != Some("close") && answer.whole {
            self.connection = Some(connection);
        }
        answer
    }

    /// Sends the head and half of the body, and goes.
    async fn cut_off(&mut self, signer: &Signer, call: &Call) {
        let signed = call.sign(signer, &self.address.to_string());
        let mut connection = self.connection().await;
        let half = &signed.body[..signed.body.len() / 2];
        let _ = connection.try_send(&[&signed.head(), half].concat()).await;
    }
}

pub struct World {
    #[expect(dead_code, reason = "runs until it is dropped")]
    dev: Dev,
    server: Peer,
    store: Peer,
    signers: HashMap<Who, Signer>,
    store_signer: Signer,
}

/// Everybody who is registered, with the name of the wallet.
const REGISTERED: [(Who, &str); 4] = [
    (Who::MinerA, "miner-a"),
    (Who::MinerA2, "miner-a2"),
    (Who::MinerB, "miner-b"),
    (Who::Validator, "validator"),
];

impl World {
    /// A server with an empty bucket, and whose folders are where.
    pub async fn start() -> (Self, People) {
        let dev = Dev::start();
        let coldkey = |name| dev.coldkey(name).to_owned();
        let json = |path: &str| -> serde_json::Value {
            serde_json::from_slice(&std::fs::read(dev.dir.path().join(path)).unwrap()).unwrap()
        };
        let hotkey = |name: &str| json(&format!("wallets/{name}/hotkeys/default"))["ss58Address"].clone();
        let registered = REGISTERED.map(|(who, name)| (who, hotkey(name).as_str().unwrap().to_owned()));
        let people = People {
            hotkeys: registered.to_vec(),
            coldkey_of_a: coldkey("miner-a"),
            coldkey_of_b: coldkey("miner-b"),
            coldkey_of_validator: coldkey("validator"),
        };
        let store_file = json("store.json");
        let text = |name: &str| store_file[name].as_str().unwrap().to_owned();
        let store_signer =
            Signer::Session { access_key: text("access_key"), secret: text("secret_key"), token: None };
        let mut server = Peer::new(&dev.endpoint);
        let mut signers = HashMap::new();
        for (who, name, has_session) in [
            (Who::MinerA, "miner-a", true),
            (Who::MinerA2, "miner-a2", false),
            (Who::MinerB, "miner-b", true),
            (Who::Validator, "validator", true),
            (Who::Stranger, "stranger", false),
        ] {
            let seed = json(&format!("wallets/{name}/hotkeys/default"))["secretSeed"].clone();
            let seed = hex::decode(seed.as_str().unwrap().trim_start_matches("0x")).unwrap();
            let pair = Keypair::from_mini_secret(&seed.try_into().unwrap()).unwrap();
            let signer = if has_session {
                open_session(&mut server, &pair).await
            } else {
                Signer::Hotkey(Arc::new(pair))
            };
            signers.insert(who, signer);
        }
        let store = Peer::new(&text("endpoint"));
        (Self { dev, server, store, signers, store_signer }, people)
    }

    /// Sends a request, again where it comes too fast for the limits: a quick machine sends more than a miner
    /// may.
    async fn send(&mut self, who: Who, call: &Call) -> Answer {
        loop {
            let answer = self.server.send(&self.signers[&who], call).await;
            if answer.status != 503 || !answer.text().contains("_per_second is reached") {
                return answer;
            }
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        }
    }

    /// Asks the store itself, as its owner.
    async fn ask_store(&mut self, call: &Call) -> Answer {
        self.store.send(&self.store_signer, call).await
    }

    /// Runs one sequence on an empty bucket.
    pub async fn run(&mut self, people: &People, steps: &[Step]) -> Result<(), Difference> {
        self.empty().await;
        let mut model = Model::new(people);
        for (index, (who, operation)) in steps.iter().enumerate() {
            let step = Running { world: self, model: &mut model, who: *who };
            step.run(operation)
                .await
                .map_err(|difference| format!("step {index}, {who:?} {operation:?}: {difference}"))?;
        }
        self.compare(&model).await
    }

    /// Takes everything out of the bucket.
    async fn empty(&mut self) {
        let mut keys = String::new();
        for (key, _, _) in self.stored().await {
            keys.push_str(&format!("<Object><Key>{}</Key></Object>", escape(&key)));
        }
        if !keys.is_empty() {
            let body = format!("<Delete><Quiet>true</Quiet>{keys}</Delete>");
            self.ask_store(&Call::post("", body).query("delete", "")).await.ok();
        }
        for (key, id) in self.stored_uploads().await {
            self.ask_store(&Call::delete(&key).query("uploadId", &id)).await.ok();
        }
    }

    /// Key, ETag and size of all that the store has.
    async fn stored(&mut self) -> Vec<(String, String, usize)> {
        let list = Call::get("").query("list-type", "2").query("encoding-type", "url");
        contents(&self.ask_store(&list).await.ok().xml(), true)
    }

    async fn stored_uploads(&mut self) -> Vec<(String, String)> {
        uploads(&self.ask_store(&Call::get("").query("uploads", "")).await.ok().xml())
    }

    /// Compares the final state: every object with its bytes, every upload.
    async fn compare(&mut self, model: &Model<'_>) -> Result<(), Difference> {
        let stored = self.stored().await;
        let expected: Vec<_> = model
            .objects
            .iter()
            .map(|(key, object)| (key.clone(), object.etag.clone(), object.content.len()))
            .collect();
        same("the final state", &expected, &stored)?;
        for (key, object) in &model.objects {
            let answer = self.ask_store(&Call::get(key)).await;
            same_bytes(&format!("the object {key}"), &object.content, &answer.body)?;
        }
        let uploads = self.stored_uploads().await.into_iter().collect();
        same("the final uploads", &model.open_uploads(""), &uploads)
    }
}

/// One step under way.
struct Running<'w, 'm, 'p> {
    world: &'w mut World,
    model: &'m mut Model<'p>,
    who: Who,
}

impl Running<'_, '_, '_> {
    async fn run(mut self, operation: &Operation) -> Result<(), Difference> {
        let key_of = |key: Key| self.model.people.key(key);
        match operation {
            Operation::Put(key, content, sent) => self.put(&key_of(*key), *content, *sent).await,
            Operation::PutIf(key, content, condition) => {
                self.put_if(&key_of(*key), *content, *condition).await
            }
            Operation::PutFolderKey(key, content, sent) => {
                self.put_folder_key(&self.model.people.prefix(*key), *content, *sent).await
            }
            Operation::Copy(from, to) => self.copy(&key_of(*from), &key_of(*to)).await,
            Operation::CreateUpload(key) => self.create_upload(&key_of(*key)).await,
            Operation::UploadPart(upload, number, content, sent) => {
                self.upload_part(*upload, *number, *content, *sent).await
            }
            Operation::UploadPartCopy(upload, number, from) => {
                self.copy_part(*upload, *number, &key_of(*from)).await
            }
            Operation::ListParts(upload) => self.list_parts(*upload).await,
            Operation::Complete(upload, parts) => self.complete(*upload, parts).await,
            Operation::Abort(upload) => self.abort(*upload).await,
            Operation::Delete(key) => self.delete(&key_of(*key)).await,
            Operation::DeleteObjects { keys, is_quiet } => {
                let keys: Vec<_> = keys.iter().map(|key| key_of(*key)).collect();
                self.delete_objects(&keys, *is_quiet).await
            }
            Operation::Get(key, range, condition) => self.get(&key_of(*key), *range, *condition).await,
            Operation::Head(key, condition) => self.head(&key_of(*key), *condition).await,
            Operation::List(list) => self.list(list).await,
            Operation::ListUploads(prefix) => self.list_uploads(*prefix).await,
        }
    }

    async fn send(&mut self, call: &Call) -> Answer {
        self.world.send(self.who, call).await
    }

    /// Sends an upload; none where it was cut off.
    async fn upload(&mut self, call: Call, content: Content, sent: Sent) -> Option<Answer> {
        let call = call.body(content.make());
        let call = match sent {
            Sent::SignedChunks if !matches!(self.world.signers[&self.who], Signer::Hotkey(_)) => {
                call.chunks(Payload::SignedChunks, 8192)
            }
            Sent::Sha256 | Sent::SignedChunks | Sent::CutOff => call,
            Sent::Unsigned => call.payload(Payload::Unsigned),
            Sent::Trailer => call.payload(Payload::UnsignedTrailer).trailer("x-amz-checksum-crc32"),
            Sent::Presigned => call.presigned(),
            Sent::FalseSha256 => call.payload(Payload::False),
            Sent::FalseTrailer => {
                call.payload(Payload::UnsignedTrailer).false_trailer("x-amz-checksum-crc32", "AAAAAA==")
            }
        };
        if sent == Sent::CutOff {
            self.world.server.cut_off(&self.world.signers[&self.who], &call).await;
            return None;
        }
        Some(self.send(&call).await)
    }

    async fn put(&mut self, key: &str, content: Content, sent: Sent) -> Result<(), Difference> {
        let expected = self.model.put(self.who, key, content, sent);
        let Some(answer) = self.upload(Call::object("PUT", key), content, sent).await else { return Ok(()) };
        if agreed(&expected, &answer, 200)?.is_some() {
            self.keep(key, content.make(), etag_of(&answer)?)?;
        }
        Ok(())
    }

    async fn put_folder_key(&mut self, key: &str, content: Content, sent: Sent) -> Result<(), Difference> {
        let expected = self.model.put_folder_key(self.who, key, content, sent);
        let answer = self.upload(Call::object("PUT", key), content, sent).await.unwrap();
        match agreed(&expected, &answer, 200)? {
            Some(true) => self.keep(key, content.make(), etag_of(&answer)?),
            Some(false) => same("the ETag of nothing", &ETAG_OF_NOTHING.to_owned(), &etag_of(&answer)?),
            None => Ok(()),
        }
    }

    /// An object that was made of one body.
    fn keep(&mut self, key: &str, content: Vec<u8>, etag: String) -> Result<(), Difference> {
        same("the ETag", &format!("\"{}\"", hex::encode(Md5::digest(&content))), &etag)?;
        self.model.objects.insert(key.to_owned(), Object { content, etag });
        Ok(())
    }

    /// The present object's ETag, or any.
    fn present_etag(&self, key: &str) -> String {
        self.model.objects.get(key).map_or_else(|| OTHER_ETAG.to_owned(), |object| object.etag.clone())
    }

    async fn put_if(
        &mut self,
        key: &str,
        content: Content,
        condition: WriteCondition,
    ) -> Result<(), Difference> {
        let expected = self.model.put_if(self.who, key, content, condition);
        let call = Call::object("PUT", key);
        let call = match condition {
            WriteCondition::None => call,
            WriteCondition::IsNew => call.header("if-none-match", "*"),
            WriteCondition::IsPresent => call.header("if-match", self.present_etag(key)),
            WriteCondition::IsAnother => call.header("if-match", OTHER_ETAG),
        };
        let answer = self.upload(call, content, Sent::Sha256).await.unwrap();
        if is_lost_refusal(&expected, &answer, content) {
            return Ok(());
        }
        if agreed(&expected, &answer, 200)?.is_some() {
            self.keep(key, content.make(), etag_of(&answer)?)?;
        }
        Ok(())
    }

    async fn copy(&mut self, from: &str, to: &str) -> Result<(), Difference> {
        let expected = self.model.copy(self.who, from, to);
        let call = Call::object("PUT", to).header("x-amz-copy-source", copy_source(from));
        let answer = self.send(&call).await;
        if let Some(content) = agreed(&expected, &answer, 200)? {
            self.keep(to, content.clone(), text(&answer.xml(), "ETag")?)?;
        }
        Ok(())
    }

    async fn create_upload(&mut self, key: &str) -> Result<(), Difference> {
        let expected = self.model.may(self.who, Action::Write, key);
        let answer = self.send(&Call::post(key, "").query("uploads", "")).await;
        if agreed(&expected, &answer, 200)?.is_some() {
            let root = answer.xml();
            same("Key", &key.to_owned(), &text(&root, "Key")?)?;
            let id = text(&root, "UploadId")?;
            let upload = OpenUpload { key: key.to_owned(), id, parts: Default::default(), is_open: true };
            self.model.uploads.push(upload);
        }
        Ok(())
    }

    /// The key by which an upload is called, and its id; one that nobody has where there is none.
    fn called(&self, upload: Upload) -> (String, String) {
        let found = self.model.uploads.get(upload.slot);
        let own = || found.map_or_else(|| self.model.people.coldkey_of_a.clone(), |found| found.key.clone());
        let key = upload.called.map_or_else(own, |key| self.model.people.key(key));
        let id = found.map_or("00000000-0000-0000-0000-000000000000", |found| &found.id);
        (key, id.to_owned())
    }

    async fn upload_part(
        &mut self,
        upload: Upload,
        number: u32,
        content: Content,
        sent: Sent,
    ) -> Result<(), Difference> {
        let (key, id) = self.called(upload);
        let expected = self.model.upload_part(self.who, upload.slot, &key, sent);
        let call = Call::object("PUT", &key);
        let call = call.query("partNumber", &number.to_string()).query("uploadId", &id);
        let Some(answer) = self.upload(call, content, sent).await else { return Ok(()) };
        if is_lost_refusal(&expected, &answer, content) {
            return Ok(());
        }
        if agreed(&expected, &answer, 200)?.is_some() {
            let part = Object { content: content.make(), etag: etag_of(&answer)? };
            self.model.uploads[upload.slot].parts.insert(number, part);
        }
        Ok(())
    }

    async fn copy_part(&mut self, upload: Upload, number: u32, from: &str) -> Result<(), Difference> {
        let (key, id) = self.called(upload);
        let expected = self.model.copy_part(self.who, upload.slot, &key, from);
        let call = Call::object("PUT", &key).header("x-amz-copy-source", copy_source(from));
        let call = call.query("partNumber", &number.to_string()).query("uploadId", &id);
        let answer = self.send(&call).await;
        if let Some(content) = agreed(&expected, &answer, 200)? {
            let part = Object { content: content.clone(), etag: text(&answer.xml(), "ETag")? };
            self.model.uploads[upload.slot].parts.insert(number, part);
        }
        Ok(())
    }

    async fn list_parts(&mut self, upload: Upload) -> Result<(), Difference> {
        let (key, id) = self.called(upload);
        let expected = self.model.list_parts(self.who, upload.slot, &key);
        let answer = self.send(&Call::get(&key).query("uploadId", &id)).await;
        if let Some(parts) = agreed(&expected, &answer, 200)? {
            let root = answer.xml();
            let mut shown = Vec::new();
            for part in root.children.iter().filter(|child| child.name == "Part") {
                let number = text(part, "PartNumber")?.parse().unwrap();
                shown.push((number, text(part, "ETag")?, text(part, "Size")?.parse().unwrap()));
            }
            same("the parts", parts, &shown)?;
        }
        Ok(())
    }

    async fn complete(&mut self, upload: Upload, named: &[NamedPart]) -> Result<(), Difference> {
        let (key, id) = self.called(upload);
        let there = self.model.uploads.get(upload.slot).map(|upload| &upload.parts);
        let mut body = "<CompleteMultipartUpload>".to_owned();
        for part in named {
            let found = there.and_then(|parts| parts.get(&part.number)).filter(|_| part.has_its_etag);
            let etag = found.map_or(OTHER_ETAG, |found| &found.etag);
            body.push_str(&format!(
                "<Part><PartNumber>{}</PartNumber><ETag>{}</ETag></Part>",
                part.number,
                escape(etag)
            ));
        }
        body.push_str("</CompleteMultipartUpload>");
        let expected = self.model.complete(self.who, upload.slot, &key, named);
        let answer = self.send(&Call::post(&key, body).query("uploadId", &id)).await;
        if let Some(content) = agreed(&expected, &answer, 200)? {
            let root = answer.xml();
            same("the root", &"CompleteMultipartUploadResult".to_owned(), &root.name)?;
            same("Key", &key, &text(&root, "Key")?)?;
            let object = Object { content: content.clone(), etag: text(&root, "ETag")? };
            self.model.objects.insert(key, object);
            self.model.uploads[upload.slot].is_open = false;
        }
        Ok(())
    }

    async fn abort(&mut self, upload: Upload) -> Result<(), Difference> {
        let (key, id) = self.called(upload);
        let expected = self.model.abort(self.who, upload.slot, &key);
        let answer = self.send(&Call::delete(&key).query("uploadId", &id)).await;
        agreed(&expected, &answer, 204).map(|_| ())
    }

    async fn delete(&mut self, key: &str) -> Result<(), Difference> {
        let expected = self.model.may(self.who, Action::Delete, key);
        let answer = self.send(&Call::delete(key)).await;
        if agreed(&expected, &answer, 204)?.is_some() {
            self.model.objects.remove(key);
        }
        Ok(())
    }

    async fn delete_objects(&mut self, keys: &[String], is_quiet: bool) -> Result<(), Difference> {
        let expected = self.model.delete_objects(self.who, keys);
        let objects: String =
            keys.iter().map(|key| format!("<Object><Key>{}</Key></Object>", escape(key))).collect();
        let body = format!("<Delete><Quiet>{is_quiet}</Quiet>{objects}</Delete>");
        let sum = BASE64_STANDARD.encode(digest::digest(&digest::SHA256, body.as_bytes()));
        let call = Call::post("", body).query("delete", "").header("x-amz-checksum-sha256", sum);
        let answer = self.send(&call).await;
        let Some(verdicts) = agreed(&expected, &answer, 200)? else { return Ok(()) };
        let mut wanted: Vec<(String, String)> = keys
            .iter()
            .zip(verdicts)
            .filter_map(|(key, verdict)| match verdict {
                Ok(()) if is_quiet => None,
                Ok(()) => Some((key.clone(), "deleted".to_owned())),
                Err(refused) => Some((key.clone(), refused.1[0].to_owned())),
            })
            .collect();
        let mut told = Vec::new();
        for child in answer.xml().children {
            let what = if child.name == "Error" { text(&child, "Code")? } else { "deleted".to_owned() };
            told.push((text(&child, "Key")?, what));
        }
        wanted.sort();
        told.sort();
        same("what became of the keys", &wanted, &told)
    }

    fn read_condition(&self, call: Call, key: &str, condition: ReadCondition) -> Call {
        match condition {
            ReadCondition::None => call,
            ReadCondition::Match => call.header("if-match", self.present_etag(key)),
            ReadCondition::MatchAnother => call.header("if-match", OTHER_ETAG),
            ReadCondition::NoneMatch => call.header("if-none-match", self.present_etag(key)),
            ReadCondition::NoneMatchAnother => call.header("if-none-match", OTHER_ETAG),
        }
    }

    async fn get(
        &mut self,
        key: &str,
        range: Option<&str>,
        condition: ReadCondition,
    ) -> Result<(), Difference> {
        let mut call = self.read_condition(Call::get(key), key, condition);
        if let Some(range) = range {
            call = call.signed("range", range);
        }
        let answer = self.send(&call).await;
        let expected = self.model.get(self.who, key, range, condition);
        let status = if range.is_some() { 206 } else { 200 };
        if let Some((object, range)) = agreed(&expected, &answer, status)? {
            same("the ETag", &object.etag, &etag_of(&answer)?)?;
            same_bytes("the body", &object.content[range.clone()], &answer.body)?;
        }
        Ok(())
    }

    async fn head(&mut self, key: &str, condition: ReadCondition) -> Result<(), Difference> {
        let call = self.read_condition(Call::head(key), key, condition);
        let answer = self.send(&call).await;
        let expected = self.model.get(self.who, key, None, condition);
        if let Some((object, _)) = agreed(&expected, &answer, 200)? {
            same("the ETag", &object.etag, &etag_of(&answer)?)?;
            let bytes = answer.get("content-length").unwrap_or_default().to_owned();
            same("Content-Length", &object.content.len().to_string(), &bytes)?;
        }
        Ok(())
    }

    async fn list_uploads(&mut self, prefix: Prefix) -> Result<(), Difference> {
        let prefix = self.model.people.prefix(prefix);
        let expected = self.model.list_uploads(self.who, &prefix);
        let answer = self.send(&Call::get("").query("uploads", "").query("prefix", &prefix)).await;
        if let Some(wanted) = agreed(&expected, &answer, 200)? {
            same("the uploads", wanted, &uploads(&answer.xml()).into_iter().collect())?;
        }
        Ok(())
    }

    /// A list, page by page to its end.
    async fn list(&mut self, list: &List) -> Result<(), Difference> {
        let expected = self.model.list(self.who, list);
        let prefix = self.model.people.prefix(list.prefix);
        let mut call = Call::get("");
        let mut add = |name: &str, value: &str| call.query.push((name.to_owned(), value.to_owned()));
        add("prefix", &prefix);
        if list.is_v2 {
            add("list-type", "2");
        }
        if let Some(delimiter) = list.delimiter {
            add("delimiter", delimiter);
        }
        if let Some(keys_max) = list.keys_max {
            add("max-keys", &keys_max.to_string());
        }
        if list.is_url_encoded {
            add("encoding-type", "url");
        }
        let after_name = if list.is_v2 { "start-after" } else { "marker" };
        let mut after = list.after.map(|key| (after_name, self.model.people.key(key)));
        let mut left = expected.as_deref().unwrap_or_default().to_vec();
        loop {
            let mut page = call.clone();
            if let Some((name, value)) = &after {
                page = page.query(name, value);
            }
            let answer = self.send(&page).await;
            if agreed(&expected, &answer, 200)?.is_none() {
                return Ok(());
            }
            let root = answer.xml();
            let keys_max = list.keys_max.unwrap_or(1000);
            let rest = left.split_off(keys_max.min(left.len()));
            // Keys and prefixes stand in two lists of their own.
            left.sort();
            same("the page", &left, &self.listed(&root, list.is_url_encoded)?)?;
            let is_truncated = keys_max > 0 && !rest.is_empty();
            same("IsTruncated", &is_truncated.to_string(), &text(&root, "IsTruncated")?)?;
            if list.is_v2 {
                same("KeyCount", &left.len().to_string(), &text(&root, "KeyCount")?)?;
            }
            if !is_truncated {
                return Ok(());
            }
            after = Some(if list.is_v2 {
                ("continuation-token", text(&root, "NextContinuationToken")?)
            } else {
                ("marker", name_of(&text(&root, "NextMarker")?, list.is_url_encoded))
            });
            left = rest;
        }
    }

    /// What a page shows, with ETags and sizes as they must be.
    fn listed(&self, root: &Element, is_url_encoded: bool) -> Result<Vec<Listed>, Difference> {
        let mut listed = Vec::new();
        for (key, etag, bytes) in contents(root, is_url_encoded) {
            if let Some(object) = self.model.objects.get(&key) {
                same("ETag and size", &(object.etag.clone(), object.content.len()), &(etag, bytes))?;
            }
            listed.push(Listed::Key(key));
        }
        for child in root.children.iter().filter(|child| child.name == "CommonPrefixes") {
            listed.push(Listed::Prefix(name_of(&text(child, "Prefix")?, is_url_encoded)));
        }
        listed.sort();
        Ok(listed)
    }
}

async fn open_session(server: &mut Peer, pair: &Keypair) -> Signer {
    let mut request =
        format!("POST /v1/session HTTP/1.1\r\nhost: {}\r\ncontent-length: 0\r\n", server.address);
    for (name, value) in btauth::sign(pair, "POST", "/v1/session", b"", None, nanos()) {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    let mut connection = server.connection().await;
    connection.send(format!("{request}\r\n").as_bytes()).await;
    session_key(connection.answer("POST").await.ok())
}

/// What stands for an answer that did not come.
fn no_answer(method: &str) -> Answer {
    let (headers, body, interim) = (Vec::new(), Vec::new(), Vec::new());
    Answer { status: NO_ANSWER, headers, body, whole: false, interim, method: method.to_owned() }
}

/// Whether the store's refusal of a large body was lost on its way. The embedded store answers before it has
/// read the body and then closes, which may reset the connection: then the client is told to retry. And a
/// client that reads only when it has sent everything may in turn find its own connection reset.
fn is_lost_refusal(expected: &Expected<()>, answer: &Answer, content: Content) -> bool {
    let is_the_stores = matches!(expected, Err(Refused(404 | 412, _))) || *expected == Err(ANY_REFUSAL);
    is_the_stores && content.bytes > SMALL_BODY_BYTES && matches!(answer.status, NO_ANSWER | 503)
}

/// What was expected to succeed, if it did; nothing where a refusal came as expected.
fn agreed<'e, T>(
    expected: &'e Expected<T>,
    answer: &Answer,
    success: u16,
) -> Result<Option<&'e T>, Difference> {
    let told = || format!("the answer is {} {}", answer.status, answer.text());
    match expected {
        Ok(value) if answer.status == success && answer.whole => Ok(Some(value)),
        Ok(_) => Err(format!("{success} was expected, {}", told())),
        Err(refused) if *refused == ANY_REFUSAL && (400..500).contains(&answer.status) => Ok(None),
        Err(refused) => {
            let code = Element::parse(&answer.body).ok();
            let code = code.as_ref().and_then(|root| root.text_of("Code")).unwrap_or_default();
            let is_named = answer.body.is_empty() || refused.1.contains(&code);
            let has_body = answer.method != "HEAD" && refused.0 != 304;
            if answer.status == refused.0 && is_named && has_body != answer.body.is_empty() {
                Ok(None)
            } else {
                Err(format!("{refused:?} was expected, {}", told()))
            }
        }
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, expected: &T, seen: &T) -> Result<(), Difference> {
    if expected == seen { Ok(()) } else { Err(format!("{what}: expected {expected:?}, seen {seen:?}")) }
}

fn same_bytes(what: &str, expected: &[u8], seen: &[u8]) -> Result<(), Difference> {
    if expected == seen {
        return Ok(());
    }
    Err(format!("{what}: {} bytes were expected, and {} others came", expected.len(), seen.len()))
}

fn text(element: &Element, name: &str) -> Result<String, Difference> {
    element.text_of(name).map(str::to_owned).ok_or_else(|| format!("no {name} in {element:?}"))
}

fn etag_of(answer: &Answer) -> Result<String, Difference> {
    answer.get("etag").map(str::to_owned).ok_or_else(|| "no ETag".to_owned())
}

fn name_of(text: &str, is_url_encoded: bool) -> String {
    if is_url_encoded { String::from_utf8(sigv4::decode(text)).unwrap() } else { text.to_owned() }
}

/// Key, ETag and size of a list's objects.
fn contents(root: &Element, is_url_encoded: bool) -> Vec<(String, String, usize)> {
    let objects = root.children.iter().filter(|child| child.name == "Contents");
    objects
        .map(|object| {
            let key = name_of(object.text_of("Key").unwrap(), is_url_encoded);
            let bytes = object.text_of("Size").unwrap().parse().unwrap();
            (key, object.text_of("ETag").unwrap().to_owned(), bytes)
        })
        .collect()
}

/// Key and id of a list's uploads.
fn uploads(root: &Element) -> Vec<(String, String)> {
    let uploads = root.children.iter().filter(|child| child.name == "Upload");
    let text = |upload: &Element, name| upload.text_of(name).unwrap().to_owned();
    uploads.map(|upload| (text(upload, "Key"), text(upload, "UploadId"))).collect()
}

fn copy_source(key: &str) -> String {
    sigv4::encode(format!("/{BUCKET}/{key}").as_bytes(), true)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
