//! The picture of a user, as a token names it.

use std::sync::Arc;

use url::Url;

use crate::protocol::user::MAX_AVATAR_BYTES;

/// Returns the address in its normal form, which has no white space, quotation marks or control
/// characters. `None` for anything but an `https` address of bounded length without a password: a
/// token is not refused for its picture.
pub(super) fn address(text: &str) -> Option<Arc<str>> {
    if text.len() > MAX_AVATAR_BYTES {
        return None;
    }
    let url = Url::parse(text).ok()?;
    let is_usable = url.scheme() == "https"
        && url.host_str().is_some_and(|host| !host.is_empty())
        && url.username().is_empty()
        && url.password().is_none();
    let address = url.as_str().replace('\'', "%27");
    (is_usable && address.len() <= MAX_AVATAR_BYTES).then(|| address.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_addresses_of_bounded_length_are_kept() {
        let kept = |text: &str| address(text).map(|url| url.to_string());
        let plain = "https://img.example/a.png?s=64";
        assert_eq!(kept(plain).as_deref(), Some(plain));
        let quoted = kept("https://img.example/\"><script>alert('x')</script> .png").unwrap();
        assert!(!quoted.contains(['"', '<', '>', '\'', ' ']), "{quoted}");
        for refused in [
            "",
            "picture.png",
            "//img.example/a.png",
            "http://img.example/a.png",
            "javascript:alert(1)",
            "data:image/png;base64,AAAA",
            "https://ann:secret@img.example/a.png",
            &format!("https://img.example/{}", "a".repeat(MAX_AVATAR_BYTES)),
            &format!("https://img.example/{}", "é".repeat(MAX_AVATAR_BYTES / 4)),
        ] {
            let shown: String = refused.chars().take(60).collect();
            assert_eq!(kept(refused), None, "{shown}");
        }
    }
}
