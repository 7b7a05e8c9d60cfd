/** The client as one script without modules: `Fanfare.SSEClient`. The hub's demo page runs it. */

export { SSEClient } from "./client/client.js";
export { SSEError } from "./client/error.js";
export { acrossTabs } from "./client/tabs.js";
