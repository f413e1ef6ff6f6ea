/** Roles that moderate. The rules of a room do not apply to them. */
export const MODERATING_ROLES = new Set(["moderator", "broadcaster", "admin"]);
