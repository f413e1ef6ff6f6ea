//! Conditional requests: a client asks whether its copy of an answer is current.

use axum::http::HeaderMap;
use axum::http::header::IF_NONE_MATCH;

/// Returns whether the client has a copy of the answer with this entity tag. `*` stands for any.
pub(crate) fn has_current(request: &HeaderMap, tag: &str) -> bool {
    let tags = request.get_all(IF_NONE_MATCH).into_iter();
    tags.filter_map(|value| value.to_str().ok())
        .flat_map(|tags| tags.split(','))
        // A proxy that compresses makes the tag a weak one.
        .map(|held| held.trim().trim_start_matches("W/"))
        .any(|held| held == "*" || held == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_found_in_a_list() {
        let has = |held: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(IF_NONE_MATCH, held.parse().unwrap());
            has_current(&headers, "\"5f\"")
        };
        for held in ["\"5f\"", "\"a\", W/\"5f\"", "*"] {
            assert!(has(held), "{held}");
        }
        for other in ["", "\"a\"", "5f\"", "\"5f"] {
            assert!(!has(other), "{other}");
        }
        assert!(!has_current(&HeaderMap::new(), "\"5f\""));
    }
}
