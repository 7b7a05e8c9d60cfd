// Owns: promises that nobody has to await. A rejection that nobody looks at goes to a handler, never to `unhandledRejection`.

/** A promise whose rejection, if nobody awaits it, is told to `onError`. So are those derived from it. */
export class Sending<T> extends Promise<T> {
  #observed = false;
  #onError: ((error: unknown) => void) | undefined;

  /** A promise for the end of `work`, which begins at once. */
  static from<T>(work: () => Promise<T>, onError: (error: unknown) => void): Sending<T> {
    return new Sending<T>((resolve, reject) => {
      // A throw on the way is a rejection as well.
      (async () => work())().then(resolve, reject);
    }).#watch(onError);
  }

  // biome-ignore lint/suspicious/noThenProperty: being awaited is what it watches for
  override then<A = T, B = never>(
    onFulfilled?: ((value: T) => A | PromiseLike<A>) | null,
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    this.#observed = true;
    const derived = super.then(onFulfilled, onRejected) as Sending<A | B>;
    return this.#onError ? derived.#watch(this.#onError) : derived;
  }

  #watch(onError: (error: unknown) => void): this {
    this.#onError = onError;
    // By the class's own method, so that this look does not count.
    super.then(undefined, (error: unknown) => {
      if (!this.#observed) onError(error);
    });
    return this;
  }
}
