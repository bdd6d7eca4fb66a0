//! Notices that the files of certificates have changed. \[IO, log lines\]
//!
//! They are looked at rather than listened to: that needs no system call of one system, and sees through the
//! symbolic links that Kubernetes and certbot replace. Invariants: what is half written is not read, for a
//! file must look the same twice; what cannot be used is told once, and tried again until it can; what was
//! read for settings of before replaces nothing.

use std::{
    sync::{Arc, Weak},
    time::{Duration, SystemTime},
};

use super::TlsListener;
use crate::{
    config::{FileFault, FileStamps},
    time::UnixTime,
};

/// How often the files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Looks at the files of a listener until that is gone.
pub(in crate::serve) async fn watch(listener: Weak<TlsListener>) {
    let mut watch = Watch::default();
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        let Some(listener) = listener.upgrade() else { return };
        let looked = tokio::task::spawn_blocking(move || {
            let look = watch.look(&listener);
            (watch, look)
        });
        let Ok((kept, look)) = looked.await else { return };
        watch = kept;
        match look {
            Look::Same => {}
            Look::Replaced(names) => {
                tracing::info!(?names, "the files of server.tls have changed; new connections have them");
            }
            Look::Faulty(faults) => {
                for fault in faults {
                    tracing::warn!(
                        %fault,
                        "the files of server.tls have changed and cannot be used; what was served stays"
                    );
                }
            }
        }
    }
}

/// What there is to tell.
enum Look {
    /// Nothing.
    Same,
    /// Certificates of these names are served from now on.
    Replaced(Vec<String>),
    /// What has changed cannot be used.
    Faulty(Vec<FileFault>),
}

/// What was seen at the last look.
#[derive(Debug, Default)]
struct Watch {
    /// Files that look otherwise than those that are served.
    changed: Option<FileStamps>,
    /// What was wrong with them, as it was told.
    told: Option<Vec<FileFault>>,
}

impl Watch {
    fn look(&mut self, listener: &Arc<TlsListener>) -> Look {
        let seen = listener.current.load_full();
        let settings = &seen.settings;
        let now = settings.stamps_now();
        if now == settings.stamps() {
            *self = Self::default();
            return Look::Same;
        }
        if self.changed.replace(now.clone()) != Some(now) {
            return Look::Same;
        }
        let read = settings.read_again(UnixTime::from(SystemTime::now()).seconds());
        let replaced = read.and_then(|settings| match listener.replace_seen(&seen, &settings) {
            Ok(is_taken) => Ok(is_taken.then_some(settings)),
            Err(error) => Err(vec![error.into()]),
        });
        match replaced {
            // A reload came meanwhile, and names its own files: these are looked at next.
            Ok(None) => {
                *self = Self::default();
                Look::Same
            }
            Ok(Some(settings)) => {
                *self = Self::default();
                let names = settings.certificates.iter().flat_map(|served| served.certificate.names());
                Look::Replaced(names.cloned().collect())
            }
            Err(errors) if self.told.as_ref() == Some(&errors) => Look::Same,
            Err(errors) => {
                self.told = Some(errors.clone());
                Look::Faulty(errors)
            }
        }
    }
}
