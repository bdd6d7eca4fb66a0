//! The client's body that becomes an object: the body of a request, or the file of a form in it.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame};

use crate::body::{failure::BoxError, form::FilePart};

/// A body that becomes an object.
pub(crate) enum ClientBody<B> {
    /// The body of the request, as it is.
    Plain(B),
    /// The file of a form.
    FormFile(Box<FilePart<B>>),
}

impl<B> Body for ClientBody<B>
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
        match self.get_mut() {
            Self::Plain(body) => Pin::new(body).poll_frame(context).map_err(Into::into),
            Self::FormFile(part) => Pin::new(part.as_mut()).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Plain(body) => body.is_end_stream(),
            Self::FormFile(part) => part.is_end_stream(),
        }
    }
}
