export interface Article {
  id: string;
  title: string;
}

// Stands in for a database. Global, because Next.js bundles pages and routes apart, each with modules of its own.
const memory = globalThis as { articles?: Article[] };

/** Newest first. */
export async function listArticles(): Promise<Article[]> {
  return memory.articles ?? [];
}

export async function saveArticle({ id, title }: Article): Promise<void> {
  memory.articles = [{ id, title }, ...(await listArticles())];
}
