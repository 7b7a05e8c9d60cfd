/**
 * One connection for several tabs: an option of the client, in a module of its own so that only who shares pays for it.
 *
 * @module
 */

export type { Share } from "./client/options.js";
export { acrossTabs } from "./client/tabs.js";
