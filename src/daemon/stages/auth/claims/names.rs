//! Where the claims of a token are: names and paths that the configuration chooses.

use serde_json::Value;

/// Returns the claim of this name, or at this path: `realm_access.role` is the claim of that name
/// or, without it, the field `role` of the claim `realm_access`. Names with dots, such as URLs, may
/// be parts of a path. `None` if there is none, or it is null.
pub(super) fn find<'a>(claims: &'a Value, path: &str) -> Option<&'a Value> {
    let claims = claims.as_object()?;
    if let Some(found) = claims.get(path) {
        return Some(found).filter(|value| !value.is_null());
    }
    path.match_indices('.').find_map(|(dot, _)| find(claims.get(&path[..dot])?, &path[dot + 1..]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_path_leads_into_nested_objects() {
        let claims = json!({
            "sub": "a",
            "realm_access": {"role": "moderator", "none": null},
            "https://site.example/role": "admin",
            "https://site.example/user": {"role": "viewer"},
            "a.b": {"c": 1},
            "a": {"b": {"c": 2, "d": 3}},
        });
        for (path, expected) in [
            ("sub", Some(json!("a"))),
            ("realm_access.role", Some(json!("moderator"))),
            ("https://site.example/role", Some(json!("admin"))),
            ("https://site.example/user.role", Some(json!("viewer"))),
            ("a.b.c", Some(json!(2))),
            ("a.b.d", Some(json!(3))),
            ("realm_access.none", None),
            ("realm_access.other", None),
            ("sub.role", None),
            ("other", None),
            (".", None),
            ("", None),
        ] {
            assert_eq!(find(&claims, path), expected.as_ref(), "{path}");
        }
        assert_eq!(find(&json!(["sub"]), "sub"), None);
    }
}
