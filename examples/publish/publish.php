<?php

// Publishing to Fanfare with PHP and its curl extension. Run it: it publishes four ways and prints the answers.

declare(strict_types=1);

final class Fanfare
{
    private const TIMEOUT = 10; // seconds for one attempt
    private const LONGEST_WAIT = 5_000_000; // microseconds between two
    private const MAY_PASS = [408, 425, 429, 500, 502, 503, 504];

    private readonly string $api;

    /** $deadline: the seconds in which another attempt may begin. */
    public function __construct(string $url, private readonly ?string $token = null, private readonly float $deadline = 30)
    {
        $this->api = rtrim($url, '/') . '/api/sse';
    }

    /** One event: to everybody, or to whom $to says. */
    public function publish(string $event, mixed $data, ?array $to = null, ?string $key = null): array
    {
        $message = ['event' => $event, 'data' => $data] + ($to === null ? [] : ['to' => $to]);

        return $this->post('/publish', self::json($message), key: $key);
    }

    /** Many events in one request, all of them or none: one JSON object on each line. */
    public function publishAll(array $events, ?string $key = null): array
    {
        $lines = array_map(static fn (array $event): string => self::json($event) . "\n", $events);

        return $this->post('/publish', implode('', $lines), 'application/x-ndjson', $key);
    }

    /** One of the helpers, such as `operation-progress` or `data-change`. */
    public function notify(string $helper, array $parameters, ?string $key = null): array
    {
        return $this->post("/notify/$helper", self::json($parameters), key: $key);
    }

    /**
     * Sends a request, and again if that may help, for up to the deadline.
     *
     * The hub knows a repetition by its key, and publishes once. An exception after no answer or a 5xx leaves open whether
     * it was published: to call again later, give the same $key both times. Without one each call has a key of its own.
     */
    private function post(string $path, string $body, string $contentType = 'application/json', ?string $key = null): array
    {
        $headers = ["content-type: $contentType", 'idempotency-key: ' . ($key ?? bin2hex(random_bytes(16)))];
        if ($this->token !== null) {
            $headers[] = "authorization: Bearer {$this->token}";
        }

        $end = microtime(true) + $this->deadline;
        for ($attempt = 1; ; $attempt++) {
            $request = curl_init($this->api . $path);
            curl_setopt_array($request, [
                CURLOPT_POSTFIELDS => $body,
                CURLOPT_HTTPHEADER => $headers,
                CURLOPT_RETURNTRANSFER => true,
                CURLOPT_TIMEOUT => self::TIMEOUT,
            ]);
            $answer = curl_exec($request);
            $status = curl_getinfo($request, CURLINFO_RESPONSE_CODE);
            if ($answer !== false && $status >= 200 && $status < 300) {
                return json_decode($answer, true, flags: JSON_THROW_ON_ERROR);
            }

            // false: no answer, or half of one.
            $mayPass = $answer === false || in_array($status, self::MAY_PASS, true);
            $wait = random_int(100_000, min(250_000 * 2 ** $attempt, self::LONGEST_WAIT));
            if (!$mayPass || microtime(true) + $wait / 1_000_000 > $end) {
                throw new RuntimeException($answer === false
                    ? "no answer from {$this->api}: " . curl_error($request)
                    : "the hub answered $status: " . self::detail($answer));
            }
            usleep($wait);
        }
    }

    /** What is wrong, in the hub's words; a proxy before it may have others. */
    private static function detail(string $answer): string
    {
        return json_decode($answer, true)['detail'] ?? substr($answer, 0, 200);
    }

    private static function json(mixed $value): string
    {
        return json_encode($value, JSON_THROW_ON_ERROR | JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES | JSON_PRESERVE_ZERO_FRACTION);
    }
}

try {
    $fanfare = new Fanfare(
        getenv('FANFARE_URL') ?: 'http://127.0.0.1:4000',
        getenv('FANFARE_TOKEN') ?: null,
        (float) (getenv('FANFARE_DEADLINE') ?: 30),
    );

    $answers = [
        $fanfare->publish('announcement', ['message' => 'New feature released!']),
        $fanfare->publish('notification', ['title' => 'Welcome!'], to: ['userId' => 'user123']),
        $fanfare->notify('operation-progress', ['operationId' => 'upload_789', 'userId' => 'user123', 'progress' => 75, 'message' => 'Processing...']),
        $fanfare->publishAll(array_map(
            static fn (int $number): array => ['event' => 'row', 'data' => ['number' => $number], 'to' => ['topic' => 'import']],
            range(1, 3),
        )),
    ];
    foreach ($answers as $answer) {
        echo json_encode($answer), "\n";
    }
} catch (RuntimeException $error) {
    fwrite(STDERR, "publish.php: {$error->getMessage()}\n");
    exit(1);
}
