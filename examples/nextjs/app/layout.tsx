import type { Metadata } from "next";
import Link from "next/link";
import type { ReactNode } from "react";
import "./globals.css";

export const metadata: Metadata = { title: "Fanfare with Next.js" };

export default function Layout({ children }: { children: ReactNode }) {
  return (
    <html lang="en">
      <body>
        <nav>
          <strong>Fanfare</strong>
          <Link href="/">Dashboard</Link>
          <Link href="/articles">Articles</Link>
          <Link href="/jobs">Jobs</Link>
        </nav>
        <main>{children}</main>
      </body>
    </html>
  );
}
