//! The file of a form, as a body of its own.

#![deny(clippy::arithmetic_side_effects)]

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame};
use memchr::memmem;

use super::boundary::{Boundary, malformed};
use crate::{
    body::failure::{BoxError, incomplete},
    error::Result,
};

/// The file of a form as a body: the bytes up to the end of the form, which is then checked byte for byte.
pub(crate) struct FilePart<B> {
    /// The rest of the request's body.
    form: B,
    /// What came together with the head, and has not been given out yet.
    first: Bytes,
    /// The length of the file that has not been given out yet.
    left_bytes: u64,
    delimiter: memmem::Finder<'static>,
    /// The last bytes of the frame before: a delimiter may begin there.
    carry: Vec<u8>,
    /// What the end of the form has to be, and how much of it was seen.
    end: Vec<u8>,
    end_seen: usize,
    /// The end of the form was seen and is right.
    ended: bool,
}

impl<B> FilePart<B> {
    /// The file that begins at `file_at` in a form of `form_bytes`: with the bytes `first`, which came
    /// together with the head, and then those of `form` (P14, P42).
    ///
    /// # Errors
    /// `MalformedPOSTRequest` where the form is too short for its own end.
    pub(super) fn new(
        form: B,
        first: Bytes,
        file_at: u64,
        form_bytes: u64,
        boundary: &Boundary,
    ) -> Result<Self> {
        let end = boundary.end();
        let around_bytes = file_at.saturating_add(end.len() as u64);
        let left_bytes = form_bytes
            .checked_sub(around_bytes)
            .ok_or_else(|| malformed("its Content-Length is too short for its own end"))?;
        Ok(Self {
            form,
            first,
            left_bytes,
            delimiter: memmem::Finder::new(&boundary.delimiter()).into_owned(),
            carry: Vec::new(),
            end,
            end_seen: 0,
            ended: false,
        })
    }

    /// The length of what has not been read yet; before the first byte, that of the file.
    pub(crate) fn bytes(&self) -> u64 {
        self.left_bytes
    }

    /// Splits `data` into what belongs to the file and what has to be the end of the form.
    fn admit(&mut self, mut data: Bytes) -> Result<Bytes> {
        let bytes = usize::try_from(self.left_bytes).unwrap_or(usize::MAX).min(data.len());
        let content = data.split_to(bytes);
        self.left_bytes = self.left_bytes.saturating_sub(content.len() as u64);
        self.refuse_delimiter(&content)?;
        let from = self.end_seen;
        self.end_seen = from.saturating_add(data.len());
        if self.end.get(from..self.end_seen) != Some(data.as_ref()) {
            return Err(malformed("its Content-Length is false, or something follows its file"));
        }
        Ok(content)
    }

    /// A delimiter within the declared length: the length was false, or the file is not the last part.
    fn refuse_delimiter(&mut self, content: &[u8]) -> Result<()> {
        let kept = self.delimiter.needle().len().saturating_sub(1);
        let joint: Vec<u8> = self.carry.iter().chain(content.iter().take(kept)).copied().collect();
        if self.delimiter.find(&joint).is_some() || self.delimiter.find(content).is_some() {
            return Err(malformed("something follows its file, which has to be the last part"));
        }
        let tail = content.get(content.len().saturating_sub(kept)..).unwrap_or_default();
        self.carry.extend_from_slice(tail);
        let surplus = self.carry.len().saturating_sub(kept);
        self.carry.drain(..surplus);
        Ok(())
    }

    fn check_end(&self) -> Result<()> {
        if self.left_bytes == 0 && self.end_seen == self.end.len() { Ok(()) } else { Err(incomplete()) }
    }
}

impl<B> Body for FilePart<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        loop {
            if this.ended {
                return Poll::Ready(None);
            }
            let data = match std::mem::take(&mut this.first) {
                first if first.is_empty() => match ready!(Pin::new(&mut this.form).poll_frame(context)) {
                    Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                    Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                    None => {
                        this.check_end()?;
                        this.ended = true;
                        continue;
                    }
                },
                first => first,
            };
            let content = this.admit(data)?;
            if !content.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(content))));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}
