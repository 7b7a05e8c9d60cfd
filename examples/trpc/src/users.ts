export interface User {
  id: string;
  name: string;
}

// Stands in for a database.
const users = new Map<string, User>();

export async function updateUserProfile(id: string, profile: Pick<User, "name">): Promise<User> {
  const user = { id, ...profile };
  users.set(id, user);
  return user;
}
