//! What servers of this process log. A process has one subscriber, so all tests share it: access records are
//! kept for everybody, everything else (every crate, at TRACE) for the threads that ask.

use std::{
    cell::{Cell, RefCell},
    io::Write,
    sync::{Mutex, Once},
};

use tracing_subscriber::{
    Layer as _,
    filter::{dynamic_filter_fn, filter_fn},
    fmt,
    layer::SubscriberExt as _,
};

thread_local! {
    static CAPTURING: Cell<bool> = const { Cell::new(false) };
    static CAPTURED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

static ACCESS_RECORDS: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct ThisThread;

impl Write for ThisThread {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        CAPTURED.with_borrow_mut(|captured| captured.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

struct AccessRecords;

impl Write for AccessRecords {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        ACCESS_RECORDS.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Sets up the subscriber; to be called before a server starts, as often as one likes.
pub fn set_up() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let capturing = dynamic_filter_fn(|_, _| CAPTURING.get());
        let captured = fmt::layer().with_ansi(false).with_writer(|| ThisThread).with_filter(capturing);
        let access = filter_fn(|metadata| metadata.target() == "subgate::access");
        let access = fmt::layer().with_ansi(false).with_writer(|| AccessRecords).with_filter(access);
        let subscriber = tracing_subscriber::registry().with(captured).with(access);
        tracing::subscriber::set_global_default(subscriber).unwrap();
    });
}

/// From here on all that this thread logs is kept. Where a test has one thread (`#[tokio::test]` as it
/// comes), that is the test, its server and its store.
pub fn capture() {
    CAPTURING.set(true);
}

/// What this thread logged.
pub fn captured() -> String {
    CAPTURED.with_borrow(|captured| String::from_utf8_lossy(captured).into_owned())
}

/// The access records of every server of this process.
pub fn access_records() -> String {
    String::from_utf8(ACCESS_RECORDS.lock().unwrap().clone()).unwrap()
}
