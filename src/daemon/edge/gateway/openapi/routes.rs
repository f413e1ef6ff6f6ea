//! Routes that are in the document.

use axum::Router;
use axum::handler::Handler;
use axum::routing::{MethodRouter, any, delete, get, patch, post};

use super::document::Document;
use super::operation::Operation;

/// Describes an operation.
type Describe = fn(&mut Operation<'_>);

/// Adds routes to a router and to the document in the same call, so that neither has one that the
/// other lacks.
#[derive(Debug)]
pub(crate) struct Routes<'a, S> {
    router: Router<S>,
    document: &'a mut Document,
}

impl<'a, S: Clone + Send + Sync + 'static> Routes<'a, S> {
    pub(crate) fn new(document: &'a mut Document) -> Self {
        Self::after(Router::new(), document)
    }

    /// Adds to routes that there are. Layers that these have do not apply to those that follow.
    pub(crate) fn after(router: Router<S>, document: &'a mut Document) -> Self {
        Self { router, document }
    }

    pub(crate) fn get<H, T>(self, path: &str, handler: H, describe: Describe) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        self.add("get", path, get(handler), describe)
    }

    /// Adds a path that is not read with `HEAD` either, as those of [`Self::get`] are. The handler
    /// is called with every method, and refuses all but `GET` with the header `Allow`.
    pub(crate) fn get_without_head<H, T>(self, path: &str, handler: H, describe: Describe) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        self.add("get", path, any(handler), describe)
    }

    pub(crate) fn post<H, T>(self, path: &str, handler: H, describe: Describe) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        self.add("post", path, post(handler), describe)
    }

    pub(crate) fn patch<H, T>(self, path: &str, handler: H, describe: Describe) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        self.add("patch", path, patch(handler), describe)
    }

    pub(crate) fn delete<H, T>(self, path: &str, handler: H, describe: Describe) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        self.add("delete", path, delete(handler), describe)
    }

    /// Adds one route whose last part is one of `names`. The document has a path for each.
    pub(crate) fn post_named<H, T>(
        mut self,
        path: &str,
        names: &[&str],
        handler: H,
        describe: fn(&mut Operation<'_>, &str),
    ) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        for name in names {
            let path = format!("{path}/{name}");
            self.document.add("post", &path, |operation| describe(operation, name));
        }
        self.router = self.router.route(&format!("{path}/{{name}}"), post(handler));
        self
    }

    fn add(mut self, method: &str, path: &str, route: MethodRouter<S>, describe: Describe) -> Self {
        self.document.add(method, path, describe);
        self.router = self.router.route(path, route);
        self
    }

    pub(crate) fn into_router(self) -> Router<S> {
        self.router
    }
}
