//! Who a connection is for, as a query string.

use super::error::RequestError;
use crate::connection::{ConnectionOptions, Heartbeat};
use crate::error::ConnectError;
use reqwest::Url;

/// Query parameters that are no metadata; so are all that begin with `sse.`.
const RESERVED: [&str; 4] = ["lastEventId", "sessionId", "topic", "userId"];

/// Adds the identity and what is asked for; where to begin travels in a header.
pub(super) fn add_identity(url: &mut Url, options: &ConnectionOptions) -> Result<(), RequestError> {
    options.check().map_err(|error| match error {
        ConnectError::Invalid { field, detail } => RequestError::invalid("identity", format!("{field} {detail}")),
        other => RequestError::invalid("identity", other),
    })?;
    if let Some(name) =
        options.metadata.keys().find(|name| RESERVED.contains(&name.as_str()) || name.starts_with("sse."))
    {
        return Err(RequestError::invalid("metadata", format!("{name:?} is a name of the server's own; take another")));
    }
    let mut query = url.query_pairs_mut();
    let singles = [("userId", &options.user_id), ("sessionId", &options.session_id)];
    for (name, value) in singles.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))) {
        query.append_pair(name, value);
    }
    query.extend_pairs(options.topics.iter().map(|topic| ("topic", topic)));
    query.extend_pairs(&options.metadata);
    if options.heartbeat == Heartbeat::Comment {
        query.append_pair("sse.heartbeat", "comment");
    }
    if let Some(policy) = options.slow_policy {
        query.append_pair("sse.slow", policy.as_str());
    }
    Ok(())
}
