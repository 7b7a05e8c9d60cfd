// Owns: one connection for several tabs. Who holds a Web Lock leads: it connects, and tells the others over a
// BroadcastChannel. The browser hands the lock on when its tab goes. Whoever needs more than the leader gives (it is behind
// the leader's place, or the leader is frozen) takes the lock away and connects from its own place: the others drop what they
// have seen. So no tab keeps a history for another.

import { isAtOrBefore } from "./cursor.js";
import { SSEError, type SSEErrorDetails, type SSEErrorKind } from "./error.js";
import { guarded } from "./guarded.js";
import type { Share, SharedActions, SSESnapshot, Tabs } from "./options.js";

/** A snapshot on its way to another tab. */
interface TabState extends Omit<SSESnapshot, "error" | "lastEvent"> {
  error: (SSEErrorDetails & { kind: SSEErrorKind; message: string }) | null;
}

/** What tabs tell each other. */
type TabMessage =
  /** To the leader: how are things? */
  | { k: "?" }
  /** How things are, the data of the last `connected`, and whether the leader still hears what was missed. */
  | { k: "s"; state: TabState; greeting: string; late: boolean }
  /** One block of the leader's stream; `before` is the place in front of it. */
  | { k: "e"; before: string; id: string; event: string; text: string | undefined; late: boolean };

/** Silence of the leader, beyond its server's two heartbeats of usually 30 s, after which it is asked how things are. */
const SILENCE = 65_000;
/** The time it has to answer; then it counts as frozen. */
const ANSWER = 3_000;

/** By then every tab has heard what was told before. */
const HEARD = 1_000;

/**
 * One connection for all tabs of an origin that have the same URL and identity: `new SSEClient({ userId, share: acrossTabs() })`.
 * Whoever the server takes for another must be another here too, so that one user's events never reach the next login: if a
 * header or a cookie says who the user is, name them by `userId`, `sessionId` or `scope`. Without any of these the stream is
 * taken to be public, and is fetched without cookies.
 *
 * Needs Web Locks, so a secure context or localhost; elsewhere each tab connects for itself.
 */
export function acrossTabs(scope = ""): Share {
  return {
    scope,
    check({ userId, sessionId, headers, credentials, url, body }) {
      if (body) throw new TypeError("acrossTabs: a request with a body cannot be shared");
      if (!scope && !userId && !sessionId && (headers || credentials || typeof url === "function")) {
        throw new TypeError(
          "acrossTabs: nothing here says whose events are shared; give a userId, or a text to acrossTabs",
        );
      }
    },
    join(client, key, { userId, sessionId, onOpen }, actions) {
      if (!globalThis.navigator?.locks || !globalThis.BroadcastChannel) return undefined;
      return new Tab(
        `${key} ${scope}`,
        () => client.getSnapshot(),
        actions,
        onOpen,
        scope || userId || sessionId ? undefined : "omit",
      );
    },
  };
}

class Tab implements Tabs {
  readonly credentials: RequestCredentials | undefined;
  readonly #name: string;
  readonly #snapshot: () => SSESnapshot;
  readonly #client: SharedActions;
  readonly #onOpen: (() => void) | undefined;
  readonly #channel: BroadcastChannel;
  #leading = false;
  /** Out of the others' company until it has caught up, because places could not be compared. */
  #alone = false;
  #greeting = "";
  /** What comes is from before now: not for tabs without a place, which begin now. */
  #late = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** The server has ended it for every tab. */
  #over = false;
  #request = new AbortController();
  #release = () => {};

  constructor(
    name: string,
    snapshot: () => SSESnapshot,
    client: SharedActions,
    onOpen: (() => void) | undefined,
    credentials: RequestCredentials | undefined,
  ) {
    this.#name = name;
    this.#snapshot = snapshot;
    this.#onOpen = onOpen;
    this.#client = client;
    this.credentials = credentials;
    this.#channel = new BroadcastChannel(name);
    this.#channel.onmessage = ({ data }) => this.#hear(data);
    this.#join();
  }

  tell(snapshot: SSESnapshot): void {
    if (!this.#leading) return;
    this.#over = snapshot.status === "closed";
    const { error } = snapshot;
    const state = { ...snapshot, lastEvent: null, error: error && { ...error, message: error.message } };
    this.#post({ k: "s", state, greeting: this.#greeting, late: this.#late });
  }

  block(before: string, id: string, event: string, text: string | undefined): void {
    if (event === "connected" && text) {
      this.#greeting = text;
      this.#late = /"resume":"(resumed|gap)"/.test(text);
    }
    // The first one comes when everything before it has.
    const caughtUp = event === "ping";
    if (this.#leading) {
      if (caughtUp && this.#late) {
        this.#late = false;
        this.tell(this.#snapshot());
      }
      this.#post({ k: "e", before, id, event, text, late: this.#late });
    } else if (this.#alone && caughtUp) {
      this.#alone = false;
      this.#join();
    }
  }

  close(): void {
    this.#request.abort();
    // A lock may change hands before the others hear that all is over, and the next one would connect.
    if (this.#over) setTimeout(this.#release, HEARD);
    else this.#release();
    clearTimeout(this.#timer);
    this.#channel.close();
    this.#leading = false;
  }

  #post(message: TabMessage): void {
    this.#channel.postMessage(message);
  }

  /** Follows, once the client has done what it is at: it has to know its tab, or to hand over a ping. */
  #join(): void {
    queueMicrotask(() => this.#request.signal.aborted || this.#follow());
  }

  /** Waits for the lead, and asks who has it. */
  #follow(): void {
    this.#leading = false;
    this.#client.stop();
    this.#client.set({ status: "connecting" });
    this.#wait();
    this.#ask();
  }

  #ask(): void {
    this.#post({ k: "?" });
    this.#schedule(ANSWER, () => this.#wait(true));
  }

  #schedule(ms: number, next: () => void): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(next, ms);
  }

  #wait(steal?: true): void {
    this.#request.abort();
    const { signal } = (this.#request = new AbortController());
    let granted = false;
    const lead = () => {
      granted = this.#leading = true;
      clearTimeout(this.#timer);
      this.#client.attempt();
    };
    navigator.locks
      // A request that steals takes no signal, and is granted without waiting.
      .request(this.#name, steal ? { steal } : { signal }, () => {
        if (signal.aborted) return undefined;
        lead();
        return new Promise<void>((resolve) => {
          this.#release = resolve;
        });
      })
      .catch(() => {
        if (signal.aborted) return;
        // Another tab took it away; or there are no locks here after all, and each tab is on its own.
        if (granted) this.#follow();
        else lead();
      });
  }

  #hear(message: TabMessage): void {
    const client = this.#client;
    if (message.k === "?") return this.tell(this.#snapshot());
    if (this.#leading || this.#alone) return;
    this.#schedule(SILENCE, () => this.#ask());
    const { status, lastEventId: mine, lastEvent, error: known, reconnectAttempts } = this.#snapshot();
    const begun = mine !== "" || !message.late;
    const place = message.k === "s" ? message.state.lastEventId : message.before || message.id;
    if (mine && place && mine !== place && !isAtOrBefore(place, mine)) {
      // There is a hole between this tab's place and the leader's.
      if (isAtOrBefore(mine, place)) return this.#wait(true);
      this.#alone = true;
      this.#request.abort();
      this.#request = new AbortController();
      clearTimeout(this.#timer);
      client.attempt();
    } else if (message.k === "e") {
      if (begun) client.receive(message.id, message.event, message.text);
    } else {
      const { state, greeting } = message;
      const { kind = "network", message: text = "" } = state.error ?? {};
      const told = known?.message === text && state.reconnectAttempts === reconnectAttempts;
      // The same failure told again is the same object.
      const error = state.error && (told ? known : new SSEError(kind, text, state.error));
      if (state.status === "closed") return client.finish(error);
      const opens = state.status === "open" && status !== "open";
      client.set({ ...state, error, lastEvent, lastEventId: begun ? mine || place : "" });
      if (opens) guarded(this.#onOpen);
      // Who came later has not heard it. What it said of the leader's past is not this tab's: without a place it begins
      // here, and with one it has missed nothing, or it would be elsewhere by now.
      if (greeting && greeting !== this.#greeting) {
        const resume = mine ? "resumed" : "live";
        client.receive(begun ? place : "", "connected", JSON.stringify({ ...JSON.parse(greeting), resume }));
        this.#greeting = greeting;
      }
    }
  }
}
