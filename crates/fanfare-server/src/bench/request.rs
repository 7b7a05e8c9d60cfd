//! A request as it goes out, made of what the command line says; numbers and data are filled in for each.

use super::Failure;
use http::{HeaderName, HeaderValue, Uri};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::net::{SocketAddr, ToSocketAddrs as _};

/// What stands for the number of a subscriber, of an event, and for its data.
pub(super) const N: &str = "{n}";
const SEQ: &str = "{seq}";
pub(super) const DATA: &str = "{data}";

/// Where it goes, and what it is, with places to fill.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) url: String,
    pub(super) address: SocketAddr,
    /// The request line and the fields, without the empty line behind them.
    head: String,
    body: Option<String>,
}

/// What is filled in.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Fill<'a> {
    pub(super) n: Option<u32>,
    pub(super) seq: u32,
    pub(super) data: &'a str,
}

impl Fill<'_> {
    fn into(self, template: &str) -> String {
        let filled = match self.n {
            Some(n) => template.replace(N, &n.to_string()),
            None => template.to_owned(),
        };
        filled.replace(SEQ, &self.seq.to_string()).replace(DATA, self.data)
    }
}

impl Request {
    /// `option` is where the template comes from. Of headers with one name the last counts.
    pub(super) fn new(
        option: &str,
        method: &http::Method,
        url: &str,
        headers: &[(String, String)],
        body: Option<String>,
    ) -> Result<Self, Failure> {
        let refuse = |why: String| Failure::Input(format!("{option}: {url:?} {why}"));
        let example = Fill { n: Some(0), seq: 0, data: "0" }.into(url);
        let uri: Uri =
            example.parse().map_err(|error| refuse(format!("is not a URL ({error}); write http://host:port/path")))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => {
                return Err(refuse(
                    "is https, which this bench does not speak: point it at the plain port of the server, behind what \
                     ends TLS"
                        .to_owned(),
                ));
            }
            _ => return Err(refuse("is not an address of the web; write http://host:port/path".to_owned())),
        }
        let Some(host) = uri.host().filter(|host| !host.is_empty()) else {
            return Err(refuse("names no host".to_owned()));
        };
        let port = uri.port_u16().unwrap_or(80);
        let mut addresses = (host.trim_matches(['[', ']']), port)
            .to_socket_addrs()
            .map_err(|error| refuse(format!("cannot be looked up: {error}")))?;
        let Some(address) = addresses.next() else { return Err(refuse("has no address".to_owned())) };
        // With the places still to fill, which the parsed one no longer has.
        let behind_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
        let (authority, path) = match behind_scheme.find(['/', '?']) {
            Some(at) => behind_scheme.split_at(at),
            None => (behind_scheme, "/"),
        };
        if authority.contains(['{', '@']) {
            return Err(refuse("has something else than a host and a port where these belong".to_owned()));
        }
        let slash = if path.starts_with('/') { "" } else { "/" };
        let mut head = format!("{method} {slash}{path} HTTP/1.1\r\n");
        let mut fields: Vec<(HeaderName, &str)> = Vec::new();
        let host = ("host".to_owned(), authority.to_owned());
        for (name, value) in std::iter::once(&host).chain(headers) {
            let parsed = HeaderName::try_from(name.as_str()).ok().filter(|_| HeaderValue::from_str(value).is_ok());
            let Some(parsed) = parsed else {
                return Err(Failure::Input(format!("\"{name}: {value}\" cannot be a header")));
            };
            fields.retain(|(before, _)| *before != parsed);
            fields.push((parsed, value));
        }
        for (name, value) in fields {
            _ = write!(head, "{name}: {value}\r\n");
        }
        Ok(Self { url: url.to_owned(), address, head, body })
    }

    /// True if this can be filled in somewhere.
    pub(super) fn has(&self, place: &str) -> bool {
        self.head.contains(place) || self.body.as_ref().is_some_and(|body| body.contains(place))
    }

    pub(super) fn bytes(&self, fill: Fill<'_>) -> Vec<u8> {
        let mut text = fill.into(&self.head);
        match &self.body {
            Some(body) => {
                let body = fill.into(body);
                _ = write!(text, "content-length: {}\r\n\r\n{body}", body.len());
            }
            None => text.push_str("\r\n"),
        }
        text.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(request: &Request, fill: Fill<'_>) -> String {
        String::from_utf8(request.bytes(fill)).unwrap()
    }

    #[test]
    fn places_are_filled_in_path_head_and_body() {
        let headers = [("X-User".to_owned(), "u-{n}".to_owned()), ("Host".to_owned(), "other".to_owned())];
        let body = Some("{\"id\":{seq},\"data\":\"{data}\"}".to_owned());
        let url = "http://127.0.0.1:1?n={n}&m={n}";
        let request = Request::new("--publish-url", &http::Method::PUT, url, &headers, body).unwrap();
        assert_eq!(
            text(&request, Fill { n: Some(7), seq: 3, data: "abc" }),
            "PUT /?n=7&m=7 HTTP/1.1\r\nx-user: u-7\r\nhost: other\r\ncontent-length: 21\r\n\r\n{\"id\":3,\"data\":\"abc\"}"
        );
        let request = Request::new("--url", &http::Method::GET, "http://[::1]:80", &[], None).unwrap();
        assert_eq!(text(&request, Fill::default()), "GET / HTTP/1.1\r\nhost: [::1]:80\r\n\r\n");
        assert_eq!(request.address.to_string(), "[::1]:80");
    }

    #[test]
    fn what_cannot_be_asked_is_refused() {
        for url in ["https://127.0.0.1", "127.0.0.1:80", "ftp://127.0.0.1", "http://", "http://{n}:80/", "http://a b/"]
        {
            assert!(Request::new("--url", &http::Method::GET, url, &[], None).is_err(), "{url}");
        }
        let header = [("a b".to_owned(), "c".to_owned())];
        assert!(Request::new("--url", &http::Method::GET, "http://127.0.0.1", &header, None).is_err());
    }
}
