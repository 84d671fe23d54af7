// The HTTP API, with errors as values that say what was wrong.

const TIMEOUT_MS = 10_000;

/** An answer other than 2xx, or none at all (status 0). `text` is the service's own words. */
export class ApiError extends Error {
  constructor(status, code, text, retryAfterS = null) {
    super(text);
    this.status = status;
    this.code = code;
    this.text = text;
    this.retryAfterS = retryAfterS;
  }
}

/** An address of this installation, which need not live at the root of its host. */
export const here = (path) => (globalThis.document ? new URL(`.${path}`, document.baseURI).href : path);

/** Call the API; the token travels in a header, never in the address. Throws ApiError. */
export async function call(method, path, { body = undefined, token = null, fetcher = fetch } = {}) {
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (token !== null) headers.Authorization = `Bearer ${token}`;
  let response;
  try {
    response = await fetcher(here(path), {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "same-origin",
      cache: "no-store",
      referrerPolicy: "no-referrer",
      signal: typeof AbortSignal.timeout === "function" ? AbortSignal.timeout(TIMEOUT_MS) : undefined,
    });
  } catch {
    throw new ApiError(0, "unreachable", "The band room's server does not answer.");
  }
  const data = await response.json().catch(() => null);
  if (response.ok) return data;
  const retry = Number(response.headers.get("Retry-After"));
  throw new ApiError(
    response.status,
    typeof data?.err === "string" ? data.err : "error",
    typeof data?.text === "string" ? data.text : `The server answered ${response.status}.`,
    Number.isFinite(retry) && retry > 0 ? retry : null,
  );
}
