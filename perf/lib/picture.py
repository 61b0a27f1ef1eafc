"""Draws series of (second, value): as an SVG file with one chart below the other, and as a few lines of text.

Rests on nothing but the standard library.
"""
import html

WIDTH, HEIGHT, LEFT, GAP = 900, 120, 70, 40


def _bounds(points):
    values = [value for _, value in points]
    return min(values), max(max(values), min(values) + 1e-9)


def in_text(title, points, width=72, height=6):
    """Rows of blocks, the highest first; a column shows the most of its stretch of time."""
    columns = [max(v for _, v in points[i * len(points) // width:max((i + 1) * len(points) // width,
                                                                     i * len(points) // width + 1)])
               for i in range(min(width, len(points)))]
    low, high = 0, max(max(columns), 1e-9)
    lines = [f"  {title}, 0 to {high:.0f}, {points[0][0]:.0f} to {points[-1][0]:.0f} s"]
    for row in range(height, 0, -1):
        line = "".join("#" if (v - low) / (high - low) * height > row - 1 else " " for v in columns)
        lines.append("  |" + line.rstrip())
    return "\n".join(lines)


def _chart(title, points, top):
    low, high = _bounds(points)
    first, last = points[0][0], max(points[-1][0], points[0][0] + 1e-9)
    place = [f"{LEFT + (at - first) / (last - first) * WIDTH:.1f},{top + HEIGHT * (1 - (v - low) / (high - low)):.1f}"
             for at, v in points]
    return (f'<text x="{LEFT}" y="{top - 8}">{html.escape(title)}</text>'
            f'<text x="{LEFT - 6}" y="{top + 10}" text-anchor="end">{high:.0f}</text>'
            f'<text x="{LEFT - 6}" y="{top + HEIGHT}" text-anchor="end">{low:.0f}</text>'
            f'<rect x="{LEFT}" y="{top}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#ccc"/>'
            f'<polyline points="{" ".join(place)}" fill="none" stroke="#06c"/>'
            f'<text x="{LEFT + WIDTH}" y="{top + HEIGHT + 14}" text-anchor="end">{last:.0f} s</text>')


def draw(path, series):
    """Writes an SVG file with a chart for each (title, points) that has any."""
    shown = [(title, points) for title, points in series if points]
    total = GAP + len(shown) * (HEIGHT + GAP)
    charts = [_chart(title, points, GAP + i * (HEIGHT + GAP)) for i, (title, points) in enumerate(shown)]
    with open(path, "w", encoding="utf-8") as out:
        out.write(f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 20}" height="{total}" '
                  'font-family="sans-serif" font-size="12">\n<rect width="100%" height="100%" fill="white"/>\n'
                  + "\n".join(charts) + "\n</svg>\n")
