//! The one token: a bearer for everything but subscribing.

use fanfare::{Access, AccessRequest, Action, Denied};
use http::{HeaderMap, header};
use subtle::ConstantTimeEq as _;

/// A secret that is not shown and not compared with `==`.
#[derive(Clone)]
pub(crate) struct Token(std::sync::Arc<str>);

/// Fewer are guessed in no time.
const TOKEN_MIN: usize = 8;

impl Token {
    pub(crate) fn new(text: &str) -> Result<Self, String> {
        if text.len() < TOKEN_MIN || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!(
                "the token must have at least {TOKEN_MIN} visible ASCII characters; make one with `openssl rand -hex 32`"
            ));
        }
        Ok(Self(text.into()))
    }

    /// True if the request carries it. The time taken tells the length at most.
    pub(crate) fn is_in(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(header::AUTHORIZATION).map(http::HeaderValue::as_bytes).unwrap_or_default();
        let Some((scheme, given)) = given.split_at_checked("Bearer ".len()) else { return false };
        scheme.eq_ignore_ascii_case(b"Bearer ") && bool::from(given.ct_eq(self.0.as_bytes()))
    }

    pub(crate) fn check(&self, request: &AccessRequest) -> Result<Access, Denied> {
        if request.action == Action::Subscribe || self.is_in(&request.headers) {
            return Ok(Access::allow());
        }
        let detail = if request.headers.contains_key(header::AUTHORIZATION) {
            "the bearer token is not the server's"
        } else {
            "send `Authorization: Bearer …` with the server's token"
        };
        Err(Denied::unauthorized(detail))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_token_passes() {
        let token = Token::new("correct-horse").unwrap();
        let with = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            token.is_in(&headers)
        };
        assert!(with("Bearer correct-horse") && with("bearer correct-horse"));
        for wrong in ["Bearer correct-hors", "Bearer correct-horsee", "Bearer ", "Bearer", "Basic correct-horse", ""] {
            assert!(!with(wrong), "{wrong:?}");
        }
        assert!(!token.is_in(&HeaderMap::new()));
        assert!(Token::new("short").is_err() && Token::new("with a space in it").is_err());
    }
}
